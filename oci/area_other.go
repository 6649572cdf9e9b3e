//go:build !linux

package oci

func preferHugePages([]byte) {}
