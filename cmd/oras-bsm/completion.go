package main

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

// complete gives a flag its values for the shell. The flag exists.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic("oras-bsm: internal error: " + err.Error())
	}
}

// completeReference completes a REF as far as this machine knows: the paths of
// layouts and archives, and the tags of layouts.
func completeReference(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		if tags := completeTag(cmd.Context(), start); len(tags) > 0 {
			return tags, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return completeWhole(cmd, args, start)
}

// completeTag returns the tags that start, an oci:DIR:TAG, is the start of.
func completeTag(ctx context.Context, start string) []cobra.Completion {
	colon := strings.LastIndexByte(start, ':')
	if colon < len("oci:") || !strings.HasPrefix(start, "oci:") {
		return nil
	}
	layout, err := oci.ParseStore(start[:colon])
	if err != nil {
		return nil
	}
	r, err := oci.List(ctx, layout, nil)
	if err != nil {
		return nil
	}
	var list []cobra.Completion
	for _, e := range r.Entries {
		ref := start[:colon+1] + e.Tag
		if e.Tag != "" && strings.HasPrefix(ref, start) && !strings.ContainsFunc(ref, unprintable) {
			list = append(list, ref)
		}
	}
	return list
}

// completeWhole does the same for commands that take whole layouts and archives.
func completeWhole(_ *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	const unfinished = cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	if path, ok := strings.CutPrefix(start, "oci:"); ok {
		return completePath("oci:", path, false), unfinished
	}
	if path, ok := strings.CutPrefix(start, "oci-archive:"); ok {
		return completePath("oci-archive:", path, true), unfinished
	}
	return []cobra.Completion{"oci:", "oci-archive:"}, unfinished
}

// completePath returns the directories, and files if asked for, that path is the
// start of, each after prefix. A directory that is no layout ends in a slash.
func completePath(prefix, path string, files bool) []cobra.Completion {
	const most = 1000 // names: more help nobody
	dir, start := filepath.Split(path)
	d, err := os.Open(cmp.Or(dir, "."))
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(most) // those before an error are as good
	slices.Sort(names)
	var list []cobra.Completion
	for _, name := range names {
		hidden := strings.HasPrefix(name, ".") && !strings.HasPrefix(start, ".")
		if hidden || !strings.HasPrefix(name, start) || strings.ContainsFunc(name, unprintable) {
			continue
		}
		info, err := os.Stat(dir + name)
		if err != nil {
			continue
		}
		_, noLayout := os.Stat(filepath.Join(dir+name, "oci-layout"))
		switch {
		case info.IsDir() && (files || noLayout != nil):
			list = append(list, prefix+dir+name+"/")
		case info.IsDir(), files && info.Mode().IsRegular():
			list = append(list, prefix+dir+name)
		}
	}
	return list
}

func unprintable(r rune) bool { return !strconv.IsPrint(r) }
