package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// socketDirs is the pattern of the names of folders for sockets.
const socketDirs = "nepho-*.sockets"

// sweepAge keeps a sweep from folders that are just being made.
const sweepAge = 10 * time.Second

// socketDir makes the folder for the sockets of this process's plugins; only its
// user may enter it. Those that killed processes left behind are swept away.
//
// A folder is in use while its process holds a lock on it. A process's id would
// not tell: in a container each life has the same.
func socketDir() (string, error) {
	parent := os.Getenv("RUNTIME_DIRECTORY")
	if parent == "" {
		parent = os.TempDir()
	}
	old, err := filepath.Glob(filepath.Join(parent, socketDirs))
	for _, dir := range old {
		sweep(dir)
	}
	dir, e := os.MkdirTemp(parent, socketDirs)
	if err = errors.Join(err, e); err == nil {
		_, err = lockDir(dir) // until the process ends
	}
	if err != nil {
		return "", fmt.Errorf("cannot make a folder for the plugins' sockets: %w", err)
	}
	return dir, nil
}

func sweep(dir string) {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || time.Since(info.ModTime()) < sweepAge {
		return
	}
	fd, err := lockDir(dir)
	if err != nil {
		return // in use, or another user's
	}
	defer syscall.Close(fd)
	os.RemoveAll(dir)
}

// lockDir locks a folder until the descriptor is closed or the process ends. An
// os.File would be closed when it is no longer used.
func lockDir(dir string) (fd int, err error) {
	fd, err = syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}
