package oci

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// checkSpace reports whether need bytes fit into the file system of dir, before
// anything is fetched. A file system that does not tell its free space passes.
func checkSpace(dir string, need int64) error {
	var fs unix.Statfs_t
	known := unix.Statfs(dir, &fs) == nil && fs.Blocks > 0
	if free := fs.Bavail * uint64(fs.Bsize); known && free < uint64(need) {
		return fmt.Errorf("%w: the model needs %s, %s are free", unix.ENOSPC, humanize.Bytes(uint64(need)), humanize.Bytes(free))
	}
	return nil
}
