package action

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// delivery is what the tests send.
func delivery() *store.Delivery {
	return &store.Delivery{
		ID: uuid.MustParse("11111111-2222-4333-8444-555555555555"), Alarm: uuid.MustParse("0e406590-f84d-403d-b050-a9d521cd2eb4"), Project: "lab",
		Created: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC),
		Body: `{"alarm_name": "\u00e92e", "alarm_id": "0e406590-f84d-403d-b050-a9d521cd2eb4", "severity": "low", "previous": "ok", "current": "alarm", ` +
			`"reason": "Transition to alarm due to 1 samples outside threshold, most recent: 100.0", "reason_data": {"type": "threshold", "most_recent": NaN}}`,
	}
}

func parse(t *testing.T, action string) *url.URL {
	t.Helper()
	u, err := url.Parse(action)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestRealMail sends mail by a real server, in each mode of TLS.
func TestRealMail(t *testing.T) {
	t.Parallel()
	certs := parts.NewCertificates(t)
	for _, mode := range []string{parts.PlainSMTP, parts.StartTLS, parts.SMTPS} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := parts.SMTP(t, mode, certs)
			o := MailOptions{Server: s.Address, TLS: mode, From: "Nephö <nepho@example.com>"}
			if mode != parts.PlainSMTP {
				o.CA, o.Username, o.Password = certs.CA, s.Username, s.Password
			}
			if err := o.Validate(); err != nil {
				t.Fatal(err)
			}
			send := func(o MailOptions, action string) error {
				m, err := NewMail(o)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				return m.Send(ctx, parse(t, action), delivery())
			}
			if err := send(o, "mailto:a@example.com,b%2Bx@example.org"); err != nil {
				t.Fatal(err)
			}
			got := s.Mails()
			if len(got) != 1 {
				t.Fatalf("there are %d mails", len(got))
			}
			m, err := mail.ReadMessage(strings.NewReader(got[0]))
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{
				"X-Mailfrom": "nepho@example.com", "X-Rcptto": "a@example.com, b+x@example.org", "Message-Id": "<11111111-2222-4333-8444-555555555555@example.com>",
				"Subject": "ALARM: é2e (low, was ok)", "To": "<a@example.com>, <b+x@example.org>", "Date": "Sun, 22 Nov 2026 07:00:00 +0000", "From": "Nephö <nepho@example.com>",
			} {
				have, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get(name))
				if err != nil || strings.Join(strings.Fields(have), " ") != want {
					t.Errorf("%s is %q, %v; want %q", name, have, err, want)
				}
			}
			body := readBody(t, m)
			for _, want := range []string{
				"Alarm:    é2e", "State:    alarm", "Was:      ok", "Severity: low", "Project:  lab", "Alarm id: 0e406590-f84d-403d-b050-a9d521cd2eb4",
				"Reason:   Transition to alarm due to 1 samples outside threshold, most recent: 100.0", "Delivery: 11111111-2222-4333-8444-555555555555",
			} {
				if !slices.Contains(strings.Split(body, "\n"), want) {
					t.Errorf("there is no line %q in\n%s", want, body)
				}
			}
			// What is wrong with the server or the options is not the mail's fault.
			for what, o := range map[string]MailOptions{
				"password":  {Server: o.Server, TLS: o.TLS, CA: o.CA, From: o.From, Username: s.Username, Password: "wrong"},
				"authority": {Server: o.Server, TLS: o.TLS, From: o.From, Username: s.Username, Password: s.Password},
			} {
				if mode == parts.PlainSMTP {
					break
				}
				var refused *Refused
				if err := send(o, "mailto:a@example.com"); err == nil || errors.As(err, &refused) {
					t.Errorf("with a wrong %s: %v", what, err)
				}
			}
			if mode == parts.StartTLS {
				o.TLS = parts.PlainSMTP
				if err := send(o, "mailto:a@example.com"); err == nil {
					t.Error("the server wants TLS and got none")
				}
			}
			if n := len(s.Mails()); n != 1 {
				t.Errorf("there are %d mails", n)
			}
		})
	}
}

func readBody(t *testing.T, m *mail.Message) string {
	t.Helper()
	b, err := io.ReadAll(quotedReader(m))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// postOffice is a mail server that answers as it is told.
type postOffice struct {
	net.Listener
	mu      sync.Mutex
	replies map[string]string // by how a command begins; "": the greeting; ".": the end of data
	mails   []string
}

func newPostOffice(t *testing.T) *postOffice {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{Listener: l, replies: map[string]string{}}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { defer c.Close(); p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
	return p
}

func (p *postOffice) set(replies map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replies = replies
}

func (p *postOffice) kept() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mails)
}

// reply answers a command; it reports whether the talk goes on.
func (p *postOffice) reply(c net.Conn, command, usual string) bool {
	p.mu.Lock()
	text := usual
	for begin, r := range p.replies {
		if begin == command || begin != "" && strings.HasPrefix(command, begin) {
			text = r
		}
	}
	p.mu.Unlock()
	switch text {
	case "close":
		return false
	case "hang":
		_, _ = io.Copy(io.Discard, c)
		return false
	case "flood":
		for {
			if _, err := io.WriteString(c, strings.Repeat("250-x\r\n", 1000)); err != nil {
				return false
			}
		}
	}
	_, err := io.WriteString(c, text+"\r\n")
	return err == nil
}

func (p *postOffice) serve(c net.Conn) {
	r := bufio.NewReader(c)
	if !p.reply(c, "", "220 here") {
		return
	}
	for {
		l, err := r.ReadString('\n')
		if err != nil {
			return
		}
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "DATA") {
			if !p.reply(c, l, "250 yes") {
				return
			}
			continue
		}
		if !p.reply(c, l, "354 go on") {
			return
		}
		var text strings.Builder
		for l != ".\r\n" {
			if l, err = r.ReadString('\n'); err != nil {
				return
			}
			text.WriteString(l)
		}
		p.mu.Lock()
		if _, bad := p.replies["."]; !bad {
			p.mails = append(p.mails, text.String())
		}
		p.mu.Unlock()
		if !p.reply(c, ".", "250 yes") {
			return
		}
	}
}

// TestMailFaults: what is tried again, and what is given up.
func TestMailFaults(t *testing.T) {
	const ok, again, never = "ok", "again", "never"
	for what, c := range map[string]struct {
		replies map[string]string
		action  string
		want    string
		mails   int
	}{
		"nothing wrong":                    {nil, "mailto:a@example.com", ok, 1},
		"busy":                             {map[string]string{"": "421 later"}, "mailto:a@example.com", again, 0},
		"not a mail server for us":         {map[string]string{"": "554 no"}, "mailto:a@example.com", again, 0},
		"no mail server":                   {map[string]string{"": "HTTP/1.1 400 Bad Request"}, "mailto:a@example.com", again, 0},
		"says nothing":                     {map[string]string{"": "hang"}, "mailto:a@example.com", again, 0},
		"says too much":                    {map[string]string{"": "flood"}, "mailto:a@example.com", again, 0},
		"closes":                           {map[string]string{"DATA": "close"}, "mailto:a@example.com", again, 0},
		"sender refused":                   {map[string]string{"MAIL": "550 no"}, "mailto:a@example.com", never, 0},
		"sender refused for now":           {map[string]string{"MAIL": "451 no"}, "mailto:a@example.com", again, 0},
		"recipient refused":                {map[string]string{"RCPT": "550 no"}, "mailto:a@example.com", never, 0},
		"recipient refused for now":        {map[string]string{"RCPT": "450 grey"}, "mailto:a@example.com", again, 0},
		"one of two refused":               {map[string]string{"RCPT TO:<a@": "550 no"}, "mailto:a@example.com,b@example.com", never, 1},
		"one of two refused for now":       {map[string]string{"RCPT TO:<b@": "452 full"}, "mailto:a@example.com,b@example.com", again, 0},
		"data refused":                     {map[string]string{"DATA": "554 no"}, "mailto:a@example.com", never, 0},
		"mail refused":                     {map[string]string{".": "552 too large"}, "mailto:a@example.com", never, 0},
		"mail refused for now":             {map[string]string{".": "452 full"}, "mailto:a@example.com", again, 0},
		"no answer to the mail":            {map[string]string{".": "hang"}, "mailto:a@example.com", again, 0},
		"rude at the end":                  {map[string]string{"QUIT": "500 what"}, "mailto:a@example.com", ok, 1},
		"no address":                       {nil, "mailto:", never, 0},
		"no addresses":                     {nil, "mailto:nobody", never, 0},
		"a host":                           {nil, "mailto://a@example.com", never, 0},
		"an address with another line":     {nil, "mailto:a@example.com%0D%0ABcc:b@example.com", never, 0},
		"an address with another argument": {nil, "mailto:a@example.com%3E%20SIZE=1", never, 0},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newPostOffice(t)
			p.set(c.replies)
			m, err := NewMail(MailOptions{Server: p.Addr().String(), TLS: "none", From: "nepho@example.com"})
			if err != nil {
				t.Fatal(err)
			}
			limit := time.Minute
			for _, r := range c.replies {
				if r == "hang" {
					limit = 500 * time.Millisecond
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err = m.Send(ctx, parse(t, c.action), delivery())
			got := again
			var refused *Refused
			if errors.As(err, &refused) {
				got = never
			} else if err == nil {
				got = ok
			}
			if n := len(p.kept()); got != c.want || n != c.mails {
				t.Errorf("%s with %d mails, %v; want %s with %d", got, n, err, c.want, c.mails)
			}
		})
	}
}

// TestMailByQueue: what could not be sent is sent later, with the same id and the same text.
func TestMailByQueue(t *testing.T) {
	r := newRig(t)
	p := newPostOffice(t)
	m, err := NewMail(MailOptions{Server: p.Addr().String(), TLS: "none", From: "nepho@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	r.end()
	r.o.Senders["mailto"] = m
	r.start()
	p.set(map[string]string{"RCPT": "450 grey"})
	r.fire(r.alarm("mailto:a@example.com?subject=C++%20is%20%C3%A4lt"), 1, "x")
	r.await("it is tried again", func() bool {
		list, err := r.store.Deliveries(t.Context(), nil, false, 0, 10)
		return err == nil && len(list) == 1 && list[0].Tries > 1 && list[0].Failed == "it answers 450 grey"
	})
	p.set(nil)
	r.await("it arrives", func() bool { return len(p.kept()) == 1 })
	if !strings.Contains(p.kept()[0], "Subject: =?utf-8?q?C++_is_=C3=A4lt?=\r\n") {
		t.Errorf("got\n%s", p.kept()[0])
	}
}

func TestMailOptions(t *testing.T) {
	good := MailOptions{Server: "mail.example.com:587", TLS: "starttls", From: "nepho@example.com", Username: "x"}
	for want, change := range map[string]func(o *MailOptions){
		"":       func(*MailOptions) {},
		"server": func(o *MailOptions) { o.Server = "mail.example.com" },
		"from":   func(o *MailOptions) { o.From = "" },
		"tls":    func(o *MailOptions) { o.TLS = "none" },
	} {
		o := good
		change(&o)
		if err := o.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if err := (&MailOptions{}).Validate(); err != nil {
		t.Error(err)
	}
}

// FuzzMail: whatever an action and an alarm's name are, a mail is one that can be read, and
// has the headers that it should have and no others.
func FuzzMail(f *testing.F) {
	f.Add("mailto:a@example.com?subject=x", "web is busy")
	f.Add("mailto:%22a%20b%22@example.com,b@example.com?subject=%0D%0ABcc:%20c@example.com", "\r\nX: y")
	f.Add("mailto:%C3%A4 <a@example.com>?subject="+strings.Repeat("%C3%A4", 500), strings.Repeat("é", 300))
	m := &Mail{from: &mail.Address{Address: "nepho@example.com"}}
	f.Fuzz(func(t *testing.T, action, name string) {
		u, err := url.Parse(action)
		if err != nil {
			return
		}
		to, subject, err := Recipients(u)
		if err != nil {
			return
		}
		d := delivery()
		d.Body = fmt.Sprintf(`{"alarm_name": %s, "current": "ok"}`, quoted(name))
		text, err := m.message(to, subject, d)
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.SplitSeq(string(text), "\r\n") {
			if strings.ContainsAny(l, "\r\n") || len(l) > 998 {
				t.Fatalf("a line is %q", l)
			}
		}
		got, err := mail.ReadMessage(strings.NewReader(string(text)))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if len(got.Header) != 10 {
			t.Fatalf("the head is %v", got.Header)
		}
		if list, err := got.Header.AddressList("To"); err != nil || len(list) != len(to) {
			t.Fatalf("%v became %v, %v", to, list, err)
		}
	})
}

func quotedReader(m *mail.Message) io.Reader { return quotedprintable.NewReader(m.Body) }

func quoted(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // no string makes one
	}
	return b
}
