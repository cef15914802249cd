package action

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/plugins/evaluator/tlsclient"
	"github.com/nephoscope/nepho/sdk/config"
)

// MailOptions say which server takes mail.
type MailOptions struct {
	Server   string `toml:"server" doc:"Host and port of the server that takes mail, such as mail.example.com:587; without one, actions mailto are given up."`
	TLS      string `toml:"tls" default:"starttls" enum:"starttls|tls|none" doc:"How mail is kept secret: starttls begins without (port 587), tls with it (port 465)."`
	CA       string `toml:"ca" doc:"PEM file with authorities that are trusted besides the system's."`
	Username string `toml:"username" doc:"User of the server; none if empty."`
	Password string `toml:"password" secret:"true" doc:"Password of the user."`
	From     string `toml:"from" doc:"Sender of mail, such as Nepho <nepho@example.com>."`
}

// Validate finds what is wrong with options of the table smtp.
func (o *MailOptions) Validate() error {
	if o.Server == "" {
		return nil
	}
	var errs []error
	host, port, err := net.SplitHostPort(o.Server)
	if err != nil || host == "" || port == "" {
		errs = append(errs, config.KeyError("server", "%q is no host and port such as mail.example.com:587", o.Server))
	}
	if _, err := mail.ParseAddress(o.From); err != nil {
		errs = append(errs, config.KeyError("from", "%q is no address such as nepho@example.com", o.From))
	}
	if o.Username != "" && o.TLS == "none" && host != "localhost" && host != "127.0.0.1" && host != "::1" {
		errs = append(errs, config.KeyError("tls", "with none everybody on the way can read the password"))
	}
	return errors.Join(errs...)
}

// Mail does actions mailto (RFC 6068): it sends mail by SMTP (RFC 5321).
type Mail struct {
	server, host       string
	mode               string
	tls                *tls.Config
	username, password string
	from               *mail.Address
}

// NewMail prepares to send mail to a server, of which there has to be one.
func NewMail(o MailOptions) (*Mail, error) {
	host, _, err := net.SplitHostPort(o.Server)
	if err != nil {
		return nil, fmt.Errorf("smtp.server: %w", err)
	}
	m := &Mail{server: o.Server, host: host, mode: o.TLS, username: o.Username, password: o.Password}
	if m.from, err = mail.ParseAddress(o.From); err != nil {
		return nil, fmt.Errorf("smtp.from: %w", err)
	}
	if m.tls, err = tlsclient.Config(o.CA, "", ""); err != nil {
		return nil, fmt.Errorf("smtp.ca: %w", err)
	}
	m.tls.ServerName = host
	return m, nil
}

// maxRecipients is how many recipients servers take at least (RFC 5321, 4.5.3.1.8).
const maxRecipients = 100

// Recipients gives the addresses of a URL mailto, and the subject that it wishes, or "".
func Recipients(u *url.URL) (to []*mail.Address, subject string, err error) {
	if u.Host != "" || u.Opaque == "" {
		return nil, "", errors.New("it has no address, as in mailto:a@example.com")
	}
	list, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return nil, "", err
	}
	if to, err = mail.ParseAddressList(list); err != nil {
		return nil, "", err
	}
	if len(to) > maxRecipients {
		return nil, "", fmt.Errorf("it has more than %d addresses", maxRecipients)
	}
	// Other than in a form, a plus is a plus.
	query, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B"))
	if err != nil {
		return nil, "", err
	}
	return to, query.Get("subject"), nil
}

// Send implements [Sender]. Mail goes to those whom the server takes; if it refuses one for
// now, to nobody yet.
func (m *Mail) Send(ctx context.Context, u *url.URL, d *store.Delivery) error {
	to, subject, err := Recipients(u)
	if err != nil {
		return &Refused{Reason: "the action can't be understood: " + err.Error()}
	}
	text, err := m.message(to, subject, d)
	if err != nil {
		return &Refused{Reason: err.Error()}
	}
	connection, err := m.dial(ctx)
	if err != nil {
		return err
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { connection.Close() })()
	if err := m.deliver(connection, to, text); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("the mail server does not answer: %w", ctx.Err())
		}
		return err
	}
	return nil
}

// maxReplies is how many bytes a server may say about one mail.
const maxReplies = 1 << 20

// bounded is a connection of which only so much is read.
type bounded struct {
	net.Conn
	r io.Reader
}

func (b *bounded) Read(p []byte) (int, error) { return b.r.Read(p) }

func (m *Mail) dial(ctx context.Context) (net.Conn, error) {
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", m.server)
	if err != nil {
		return nil, err
	}
	limited := &bounded{Conn: plain, r: io.LimitReader(plain, maxReplies)}
	if m.mode != "tls" {
		return limited, nil
	}
	secure := tls.Client(limited, m.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		plain.Close()
		return nil, err
	}
	return secure, nil
}

// deliver sends a mail. What the server says before the mail begins, such as that it does
// not know the user, is not about the mail, which is tried again then.
func (m *Mail) deliver(connection net.Conn, to []*mail.Address, text []byte) error {
	c, err := smtp.NewClient(connection, m.host)
	if err != nil {
		return err
	}
	if name, err := os.Hostname(); err == nil && !strings.ContainsAny(name, " \r\n") && name != "" {
		if err := c.Hello(name); err != nil {
			return err
		}
	}
	if m.mode == "starttls" {
		if err := c.StartTLS(m.tls); err != nil {
			return fmt.Errorf("cannot begin TLS with the mail server: %w", err)
		}
	}
	if m.username != "" {
		if err := c.Auth(m); err != nil {
			return fmt.Errorf("the mail server does not let user %s in: %w", m.username, err)
		}
	}
	if err := c.Mail(m.from.Address); err != nil {
		return judged(err)
	}
	var refused []error
	for _, a := range to {
		err := judged(c.Rcpt(a.Address))
		var no *Refused
		switch {
		case errors.As(err, &no):
			refused = append(refused, fmt.Errorf("%s: %w", a.Address, err))
		case err != nil:
			return err
		}
	}
	if len(refused) < len(to) {
		w, err := c.Data()
		if err != nil {
			return judged(err)
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return judged(err)
		}
	}
	_ = c.Quit() // the server has the mail, whatever it says now
	if len(refused) > 0 {
		return &Refused{Reason: errors.Join(refused...).Error()}
	}
	return nil
}

// judged makes a refusal of a reply that is one for good.
func judged(err error) error {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return err
	}
	text := fmt.Sprintf("it answers %d %s", reply.Code, line(reply.Msg))
	if reply.Code >= 500 {
		return &Refused{Reason: text}
	}
	return errors.New(text)
}

// Start implements [smtp.Auth]: PLAIN (RFC 4616) where the server has it, otherwise LOGIN, which
// is all that some have.
func (m *Mail) Start(server *smtp.ServerInfo) (proto string, toServer []byte, err error) {
	plain := smtp.PlainAuth("", m.username, m.password, m.host)
	proto, toServer, err = plain.Start(server)
	if err != nil {
		return "", nil, err
	}
	for _, a := range server.Auth {
		if strings.EqualFold(a, "PLAIN") {
			return proto, toServer, nil
		}
	}
	return "LOGIN", nil, nil
}

// Next implements [smtp.Auth]. Only LOGIN asks for more: the user, then the password.
func (m *Mail) Next(fromServer []byte, more bool) ([]byte, error) {
	switch {
	case !more:
		return nil, nil
	case bytes.HasPrefix(bytes.ToLower(fromServer), []byte("user")):
		return []byte(m.username), nil
	case bytes.HasPrefix(bytes.ToLower(fromServer), []byte("pass")):
		return []byte(m.password), nil
	}
	return nil, fmt.Errorf("the mail server asks for %q, which is not known", fromServer)
}

// maxSubject is the most characters of a subject, so that its line is not too long.
const maxSubject = 150

// message writes a mail, which is the same in all attempts.
func (m *Mail) message(to []*mail.Address, subject string, d *store.Delivery) ([]byte, error) {
	a, err := fields(d.Body)
	if err != nil {
		return nil, err
	}
	if subject == "" {
		subject = fmt.Sprintf("%s: %s (%s, was %s)", strings.ToUpper(a["current"]), a["alarm_name"], a["severity"], a["previous"])
	}
	subject = line(subject)
	if r := []rune(subject); len(r) > maxSubject {
		subject = string(r[:maxSubject-1]) + "…"
	}
	names := make([]string, len(to))
	for i, r := range to {
		names[i] = r.String()
	}
	domain := m.from.Address[strings.LastIndexByte(m.from.Address, '@')+1:]
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", m.from.String()},
		{"To", strings.Join(names, ",\r\n ")},
		// Encoded words are apart by a space, where lines may be folded.
		{"Subject", strings.ReplaceAll(mime.QEncoding.Encode("utf-8", subject), "?= =?", "?=\r\n =?")},
		{"Date", d.Created.UTC().Format(time.RFC1123Z)},
		{"Message-Id", "<" + d.ID.String() + "@" + domain + ">"},
		// Mail of one alarm belongs together.
		{"References", "<" + d.Alarm.String() + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	for _, l := range [][2]string{
		{"Alarm", a["alarm_name"]}, {"State", a["current"]}, {"Was", a["previous"]}, {"Severity", a["severity"]}, {"Reason", a["reason"]},
		{"Time", d.Created.UTC().Format(time.RFC3339)}, {"Alarm id", d.Alarm.String()}, {"Project", d.Project}, {"Delivery", d.ID.String()},
	} {
		if l[1] != "" {
			fmt.Fprintf(q, "%-9s %s\r\n", l[0]+":", line(l[1]))
		}
	}
	if err := q.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// fields reads a body's texts, which are before its reason_data. That may have numbers as
// Python writes them, which are no JSON.
func fields(body string) (map[string]string, error) {
	list := map[string]string{}
	r := json.NewDecoder(strings.NewReader(body))
	_, err := r.Token()
	for err == nil && r.More() {
		var name json.Token
		if name, err = r.Token(); err != nil || name == "reason_data" {
			break
		}
		var value string
		err = r.Decode(&value)
		list[fmt.Sprint(name)] = value
	}
	if err != nil {
		return nil, fmt.Errorf("its body can't be understood: %w", err)
	}
	return list, nil
}

// line makes one line of a text.
func line(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
