package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestHelp proves that the help of all commands is in one style: each explains
// itself and has an example, what stands for a value is upper case, as SIZE and
// DIR are, and alternatives are written A|B.
func TestHelp(t *testing.T) {
	root := newRoot(&app{})
	flags := func(f *pflag.Flag) {
		if name, _ := pflag.UnquoteUsage(f); name != strings.ToUpper(name) {
			t.Errorf("--%s takes %q", f.Name, name)
		}
	}
	root.PersistentFlags().VisitAll(flags)
	for _, c := range root.Commands() {
		if !c.Runnable() || c.Name() == "help" {
			continue
		}
		if c.Long == "" || c.Example == "" {
			t.Errorf("%s: no long help or no example", c.Name())
		}
		if strings.Contains(c.Use, " | ") {
			t.Errorf("%s: spaces about the |", c.Use)
		}
		c.Flags().VisitAll(flags)
	}
}
