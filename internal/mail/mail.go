// Package mail sends plain letters: by SMTP (RFC 5321), or into a folder where there is no mail server, so that somebody
// who tries the program out can read them.
//
// A letter has one recipient and is text. Whoever wrote its subject or its lines may not add headers to it.
package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/secret"
)

// Message is one letter.
type Message struct {
	To      string // one address (RFC 5322 §3.4.1), without a name
	Subject string
	Text    string
}

// Mailer sends letters.
type Mailer interface {
	// Send returns nil once somebody has taken m on: a mail server, or the disk.
	Send(ctx context.Context, m Message) error
}

// compose returns m as it is sent, or what is wrong with it.
func compose(from string, m Message, at time.Time) ([]byte, *mail.Address, *mail.Address, error) {
	sender, err := mail.ParseAddress(from)
	if err != nil || hasControl(from) {
		return nil, nil, nil, errors.New("the sender is not an address")
	}
	to, err := mail.ParseAddress(m.To)
	if err != nil || to.Name != "" || to.Address != m.To || hasControl(m.To) {
		return nil, nil, nil, errors.New("the recipient is not one plain address")
	}
	if hasControl(m.Subject) {
		return nil, nil, nil, errors.New("the subject has a line break or another control character")
	}
	_, host, _ := strings.Cut(sender.Address, "@")
	var b bytes.Buffer
	for _, h := range []struct{ name, value string }{
		{"From", sender.String()}, {"To", to.String()}, {"Subject", mime.QEncoding.Encode("utf-8", m.Subject)},
		{"Date", at.Format(time.RFC1123Z)}, {"Message-ID", "<" + id.Random(16) + "@" + host + ">"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834 §5: nobody's holiday notice answers
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h.name, h.value)
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(strings.ReplaceAll(strings.ToValidUTF8(m.Text, "\uFFFD"), "\n", "\r\n"))) // a Buffer takes everything
	_ = q.Close()
	return b.Bytes(), sender, to, nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// TLS is how a connection to a mail server is protected.
type TLS string

// The ways.
const (
	StartTLS TLS = "starttls" // RFC 3207; a server that does not offer it is not used
	Implicit TLS = "implicit" // RFC 8314 §3: TLS from the first byte
	None     TLS = "none"     // for servers on this machine only
)

// SMTP is a mail server. Host and From are required.
type SMTP struct {
	Host     string
	Port     int    // default 587, or 465 with Implicit
	From     string // such as "Behalf <behalf@example.com>"
	TLS      TLS    // default StartTLS
	Username string // empty: the server takes mail without signing in
	Password secret.Text
	Timeout  time.Duration    // for the whole letter; default 30 s
	Roots    *tls.Config      // default: the system's roots
	Now      func() time.Time // default: time.Now
}

// Check says what is wrong with s, without calling anybody.
func (s SMTP) Check() error {
	if _, err := mail.ParseAddress(s.From); err != nil || hasControl(s.From) {
		return errors.New("from must be an address such as Behalf <behalf@example.com>")
	}
	switch s.TLS {
	case "", StartTLS, Implicit:
	case None:
		if !loopback.Host(s.Host) {
			return errors.New(`tls may be "none" only for a mail server on this machine: letters and the password would be sent for all to read`)
		}
	default:
		return fmt.Errorf("tls must be starttls, implicit or none, not %q", string(s.TLS))
	}
	if s.Username == "" && !s.Password.Empty() {
		return errors.New("there is a password and no username")
	}
	return nil
}

// Send implements Mailer. The letter was taken on when it returns nil; otherwise it may be sent again.
func (s SMTP) Send(ctx context.Context, m Message) error {
	if err := s.Check(); err != nil {
		return err
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	letter, from, to, err := compose(s.From, m, s.Now())
	if err != nil {
		return err
	}
	if s.Timeout <= 0 {
		s.Timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if s.Username != "" {
		if err := c.Auth(smtp.PlainAuth("", s.Username, s.Password.Reveal(), s.Host)); err != nil {
			return fmt.Errorf("sign in to the mail server: %w", codeOnly(err))
		}
	}
	if err := c.Mail(from.Address); err != nil {
		return fmt.Errorf("the mail server does not take letters from %s: %w", from.Address, code(err))
	}
	if err := c.Rcpt(to.Address); err != nil {
		return fmt.Errorf("the mail server does not take the recipient: %w", code(err))
	}
	w, err := c.Data()
	if err == nil {
		_, err = w.Write(letter)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("the mail server does not take the letter: %w", code(err))
	}
	_ = c.Quit() // the letter is taken on already
	return nil
}

// dial connects, and protects the connection before anything is said on it.
func (s SMTP) dial(ctx context.Context) (*smtp.Client, error) {
	port := s.Port
	if port == 0 {
		if port = 587; s.TLS == Implicit {
			port = 465
		}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(s.Host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("connect to the mail server: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // an open connection has no error here
	}
	roots := s.Roots.Clone()
	if roots == nil {
		roots = &tls.Config{}
	}
	roots.ServerName, roots.MinVersion = s.Host, tls.VersionTLS12
	if s.TLS == Implicit {
		conn = tls.Client(conn, roots)
	}
	c, err := smtp.NewClient(conn, s.Host)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("greet the mail server: %w", code(err))
	}
	if s.TLS == "" || s.TLS == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			_ = c.Close()
			return nil, errors.New("the mail server does not offer STARTTLS, and letters are not sent without")
		}
		if err := c.StartTLS(roots); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("protect the connection to the mail server: %w", err)
		}
	}
	return c, nil
}

// code keeps the first line of what a mail server says, which is for logs, and bounds it.
func code(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if len(line) > 200 {
		line = strings.ToValidUTF8(line[:200], "") + "…"
	}
	return errors.New(line)
}

// codeOnly keeps the number of a mail server's answer (RFC 5321 §4.2), whose text may repeat what it was sent. What
// another cause says is our own.
func codeOnly(err error) error {
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		return fmt.Errorf("it answered %d", answer.Code)
	}
	return code(err)
}

// Folder writes letters as files, one each, for development: nobody sends them.
type Folder struct {
	Dir string           // made when it is missing
	Now func() time.Time // default: time.Now
}

// Send implements Mailer.
func (f Folder) Send(_ context.Context, m Message) error {
	if f.Now == nil {
		f.Now = time.Now
	}
	at := f.Now()
	letter, _, _, err := compose("Behalf <behalf@localhost>", m, at)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of mail: %w", err)
	}
	name := at.UTC().Format("20060102-150405") + "-" + id.Random(5) + ".eml"
	if err := os.WriteFile(filepath.Join(f.Dir, name), letter, 0o600); err != nil {
		return fmt.Errorf("write a letter: %w", err)
	}
	return nil
}
