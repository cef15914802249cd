package parts

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
)

// SMTPServer is aiosmtpd, which keeps the mail that it takes.
type SMTPServer struct {
	*Process
	// Address is host and port.
	Address string
	// Username and Password are those of its only user, whom it asks for with TLS.
	Username, Password string
}

// TLS modes of [SMTP].
const (
	PlainSMTP = "none"
	StartTLS  = "starttls" // and nothing without
	SMTPS     = "tls"
)

// smtpd keeps each mail in a file of a Maildir. With TLS it asks for a user.
const smtpd = `
import asyncio, ssl, sys
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP, AuthResult

port, mode, folder, cert, key, user, password = sys.argv[1:]

def check(server, session, envelope, mechanism, data):
    good = data.login == user.encode() and data.password == password.encode()
    return AuthResult(success=good, handled=False)

context = None
if mode != "none":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)

def server():
    start = mode == "starttls"
    return SMTP(Mailbox(folder), enable_SMTPUTF8=True, authenticator=check, auth_required=mode != "none", auth_require_tls=start,
                tls_context=context if start else None, require_starttls=start)

async def main():
    s = await asyncio.get_running_loop().create_server(server, "127.0.0.1", int(port), ssl=context if mode == "tls" else None)
    await s.serve_forever()

asyncio.run(main())
`

// SMTP starts a server that takes mail. certs are for the modes with TLS.
func SMTP(tb TB, mode string, certs Certificates) *SMTPServer {
	tb.Helper()
	dir := newDir(tb)
	port := FreePort(tb)
	s := &SMTPServer{Address: net.JoinHostPort("127.0.0.1", fmt.Sprint(port)), Username: "nepho", Password: "mail pw"}
	script := filepath.Join(dir, "smtpd.py")
	writeFile(tb, script, smtpd)
	s.Process = newProcess(tb, dir, spec{
		name:  "aiosmtpd",
		argv:  []string{program(tb, "/usr/bin/python3"), "-W", "ignore", script, fmt.Sprint(port), mode, filepath.Join(dir, "mail"), certs.Cert, certs.Key, s.Username, s.Password},
		ready: accepts(port),
	})
	s.Start()
	return s
}

// Mails gives the mails that were taken, with their heads, in no order. Two headers tell
// who they were from and for: X-MailFrom and X-RcptTo.
func (s *SMTPServer) Mails() []string {
	s.tb.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir, "mail", "new", "*"))
	if err != nil {
		s.tb.Fatalf("cannot read the mails: %v", err)
	}
	slices.Sort(files)
	mails := make([]string, len(files))
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			s.tb.Fatalf("cannot read the mails: %v", err)
		}
		mails[i] = string(b)
	}
	return mails
}
