//go:build !linux

package ramdisk

// Folder returns where temporary folders are best made: "" is the usual place.
func Folder() string { return "" }
