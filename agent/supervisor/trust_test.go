package supervisor

import (
	"strings"
	"syscall"
	"testing"
)

// Only root and the user that runs the host have a say in what it runs.
func TestTrust(t *testing.T) {
	const me, mine, other = 1000, 1001, 4000
	u := user{uid: me, gid: mine}
	check := func(what string, err error, want string) {
		t.Helper()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	f := func(uid, gid, mode uint32, file, folder string) {
		t.Helper()
		s := &syscall.Stat_t{Uid: uid, Gid: gid, Mode: mode}
		check("file", u.refuseFile("/x/plugin", s), file)
		check("folder", u.refuseFolder("/x/plugin", "/x", s), folder)
	}
	f(me, mine, 0o755, "", "")
	f(0, 0, 0o775, "", "")
	f(me, mine, 0o775, "", "")
	f(0, other, 0o755, "", "")
	f(0, other, 0o775, "the group 4000 may write to it", "the group 4000 may write to its folder")
	f(other, mine, 0o755, "it belongs to the user 4000", `its folder "/x" belongs to the user 4000`)
	f(me, mine, 0o757, "everybody may write to it", "everybody may write to its folder")
	f(0, 0, 0o777|syscall.S_ISVTX, "everybody may write to it", "")
	f(0, other, 0o775|syscall.S_ISVTX, "the group 4000 may write to it", "")
	f(other, other, 0o777|syscall.S_ISVTX, "everybody may write to it", "belongs to the user 4000")
}
