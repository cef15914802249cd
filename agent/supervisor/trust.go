package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// user is who runs the host. Besides root, only that user may decide what it runs.
type user struct{ uid, gid uint32 }

func (u user) owns(file *syscall.Stat_t) bool { return file.Uid == 0 || file.Uid == u.uid }

// others tells whether others may write to a file: all, or a group that is
// neither root's nor the user's own.
func (u user) others(file *syscall.Stat_t) (all, group bool) {
	return file.Mode&0o002 != 0, file.Mode&0o020 != 0 && file.Gid != 0 && file.Gid != u.gid
}

// refuseFile says why a plugin's file cannot be trusted.
func (u user) refuseFile(path string, file *syscall.Stat_t) error {
	all, group := u.others(file)
	switch {
	case all:
		return fmt.Errorf("plugin %q is refused because everybody may write to it: chmod o-w it, and see who did", path)
	case group:
		return fmt.Errorf("plugin %q is refused because the group %d may write to it: chmod g-w it, and see who did", path, file.Gid)
	}
	return u.refuseOwner(path, file)
}

func (u user) refuseOwner(path string, file *syscall.Stat_t) error {
	if !u.owns(file) {
		return fmt.Errorf("plugin %q is refused because it belongs to the user %d: only root's and those of the user that runs this (%d) are run", path, file.Uid, u.uid)
	}
	return nil
}

// refuseFolder says why the folder of a plugin cannot be trusted. In a sticky one,
// as /tmp is, others cannot replace what root or the user owns.
func (u user) refuseFolder(path, folder string, dir *syscall.Stat_t) error {
	all, group := u.others(dir)
	sticky := dir.Mode&syscall.S_ISVTX != 0
	switch {
	case all && !sticky:
		return fmt.Errorf("plugin %q is refused because everybody may write to its folder: chmod o-w %q", path, folder)
	case group && !sticky:
		return fmt.Errorf("plugin %q is refused because the group %d may write to its folder: chmod g-w %q", path, dir.Gid, folder)
	case !u.owns(dir):
		return fmt.Errorf("plugin %q is refused because its folder %q belongs to the user %d, who is neither root nor the user that runs this (%d)", path, folder, dir.Uid, u.uid)
	}
	return nil
}

// trust proves that nobody but root and the user that runs this has a say in what
// the executable does. Who may write to a folder may replace what is in it, a
// link as well as a file.
func trust(path string) error {
	u := user{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("cannot follow plugin %q: %w", path, err)
	}
	var file, link syscall.Stat_t
	if err := syscall.Stat(target, &file); err != nil {
		return fmt.Errorf("cannot look at plugin %q: %w", path, err)
	}
	if err := u.refuseFile(path, &file); err != nil {
		return err
	}
	for _, folder := range []string{filepath.Dir(path), filepath.Dir(target)} {
		var dir syscall.Stat_t
		if err := syscall.Stat(folder, &dir); err != nil {
			return fmt.Errorf("cannot look at the folder of plugin %q: %w", path, err)
		}
		if err := u.refuseFolder(path, folder, &dir); err != nil {
			return err
		}
	}
	// A link has no mode of its own, but an owner, who may replace it even in a
	// sticky folder.
	if err := syscall.Lstat(path, &link); err != nil {
		return fmt.Errorf("cannot look at plugin %q: %w", path, err)
	}
	return u.refuseOwner(path, &link)
}
