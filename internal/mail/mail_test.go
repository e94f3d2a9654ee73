package mail_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/mail"
	"github.com/behalf-project/behalf/internal/secret"
)

// server is a small mail server on loopback (RFC 5321), with STARTTLS and AUTH PLAIN as its fields say.
type server struct {
	starttls, implicit bool
	refuse             string // the recipient it does not take
	quotes             bool   // it refuses to sign in, and repeats what it was told
	cert               tls.Certificate

	mu      sync.Mutex
	letters []string
	auth    []string // what AUTH said, and whether in the clear
	lines   []string
}

func (s *server) start(t *testing.T) (port int, roots *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { l.Close(); open.Wait() })
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { s.serve(conn) })
		}
	})
	return l.Addr().(*net.TCPAddr).Port, &tls.Config{RootCAs: pool}
}

func (s *server) serve(conn net.Conn) {
	defer func() { conn.Close() }()
	secure := s.implicit
	if secure {
		conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.cert}})
	}
	r := textproto.NewReader(bufio.NewReader(conn))
	say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	say("220 localhost ready")
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.lines = append(s.lines, line)
		s.mu.Unlock()
		switch verb, rest, _ := strings.Cut(line, " "); strings.ToUpper(verb) {
		case "EHLO":
			say("250-localhost")
			if s.starttls && !secure {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go on")
			conn, secure = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.cert}}), true
			r = textproto.NewReader(bufio.NewReader(conn))
		case "AUTH":
			_, response, _ := strings.Cut(rest, " ")
			plain, _ := base64.StdEncoding.DecodeString(response)
			s.mu.Lock()
			s.auth = append(s.auth, map[bool]string{true: "protected ", false: "in the clear "}[secure]+strings.ReplaceAll(string(plain), "\x00", "|"))
			s.mu.Unlock()
			if s.quotes {
				say("535 5.7.8 not accepted: " + response)
				continue
			}
			say("235 welcome")
		case "MAIL":
			say("250 ok")
		case "RCPT":
			if s.refuse != "" && strings.Contains(rest, s.refuse) {
				say("550 no such mailbox")
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go on")
			lines, err := r.ReadDotLines()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.letters = append(s.letters, strings.Join(lines, "\r\n"))
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

func (s *server) received() []string { s.mu.Lock(); defer s.mu.Unlock(); return s.letters }

func TestALetterArrivesOverAProtectedConnection(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server *server
		tls    mail.TLS
	}{
		{"STARTTLS", &server{starttls: true}, ""},
		{"implicit TLS", &server{implicit: true}, mail.Implicit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.server
			port, roots := s.start(t)
			m := mail.SMTP{Host: "localhost", Port: port, From: "Behalf <behalf@example.com>", TLS: tt.tls, Username: "u", Password: secret.New("canary"), Roots: roots}
			text := "Grüße\n.\nAnother line that is far longer than the seventy-six characters that a line of quoted-printable may have.\n"
			if err := m.Send(t.Context(), mail.Message{To: "alice@example.com", Subject: "Ihr Zugang läuft ab", Text: text}); err != nil {
				t.Fatalf("Send = %v", err)
			}
			if len(s.received()) != 1 {
				t.Fatalf("%d letters came, want 1", len(s.received()))
			}
			letter, err := netmail.ReadMessage(strings.NewReader(s.received()[0]))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(letter.Header.Get("Subject"))
			if err != nil || subject != "Ihr Zugang läuft ab" || letter.Header.Get("To") != "<alice@example.com>" || letter.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("header %v, subject %q, %v", letter.Header, subject, err)
			}
			body, err := io.ReadAll(quotedprintable.NewReader(letter.Body))
			if got := strings.ReplaceAll(string(body), "\r\n", "\n"); err != nil || strings.TrimRight(got, "\n") != strings.TrimRight(text, "\n") {
				t.Errorf("body %q, %v, want %q", got, err, text)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.auth) != 1 || s.auth[0] != "protected |u|canary" {
				t.Errorf("signed in as %q", s.auth)
			}
		})
	}
}

func TestNothingIsSaidToAMailServerThatIsNotProtected(t *testing.T) {
	plain := &server{}
	port, roots := plain.start(t)
	to := mail.Message{To: "alice@example.com", Subject: "x", Text: "x"}
	m := mail.SMTP{Host: "localhost", Port: port, From: "behalf@example.com", Username: "u", Password: secret.New("canary"), Roots: roots}
	if err := m.Send(t.Context(), to); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("without STARTTLS: %v", err)
	}
	protected := &server{starttls: true}
	port, _ = protected.start(t)
	m.Port, m.Roots = port, nil // the system knows nothing of its certificate
	if err := m.Send(t.Context(), to); err == nil {
		t.Error("a certificate that nobody vouches for was taken")
	}
	for _, s := range []*server{plain, protected} {
		s.mu.Lock()
		if len(s.auth) != 0 || len(s.letters) != 0 {
			t.Errorf("it heard %q", s.lines)
		}
		s.mu.Unlock()
	}
	if err := (mail.SMTP{Host: "mail.example.com", From: "b@example.com", TLS: mail.None}).Check(); err == nil {
		t.Error("no TLS to another machine was allowed")
	}
}

func TestALetterThatWouldBeAnotherIsNotSent(t *testing.T) {
	s := &server{}
	port, _ := s.start(t)
	m := mail.SMTP{Host: "localhost", Port: port, From: "behalf@example.com", TLS: mail.None}
	for _, bad := range []mail.Message{
		{To: "alice@example.com\r\nRCPT TO:<eve@example.com>", Subject: "x"},
		{To: "alice@example.com, eve@example.com", Subject: "x"},
		{To: "alice@example.com@evil.example", Subject: "x"},
		{To: "Alice <alice@example.com>", Subject: "x"},
		{To: "", Subject: "x"},
		{To: "alice@example.com", Subject: "x\r\nBcc: eve@example.com"},
		{To: "alice@example.com", Subject: "x\nBcc: eve@example.com"},
	} {
		if err := m.Send(t.Context(), bad); err == nil {
			t.Errorf("%+v was sent", bad)
		}
	}
	if len(s.received()) != 0 {
		t.Error("a letter came")
	}
}

func TestARefusedRecipientIsAnError(t *testing.T) {
	s := &server{refuse: "nobody@example.com"}
	port, _ := s.start(t)
	m := mail.SMTP{Host: "localhost", Port: port, From: "behalf@example.com", TLS: mail.None}
	if err := m.Send(t.Context(), mail.Message{To: "nobody@example.com", Subject: "x"}); err == nil || !strings.Contains(err.Error(), "550") {
		t.Errorf("Send = %v, want what the server said", err)
	}
}

func TestASilentMailServerIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := mail.SMTP{Host: "localhost", Port: l.Addr().(*net.TCPAddr).Port, From: "behalf@example.com", TLS: mail.None, Timeout: 100 * time.Millisecond}
	began := time.Now()
	if err := m.Send(t.Context(), mail.Message{To: "alice@example.com", Subject: "x"}); err == nil || time.Since(began) > time.Minute {
		t.Errorf("Send = %v after %s", err, time.Since(began))
	}
}

func TestWithoutAMailServerLettersAreFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	if err := (mail.Folder{Dir: dir}).Send(context.Background(), mail.Message{To: "alice@example.com", Subject: "hello", Text: "text"}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v, want one file", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(content), "Subject: hello\r\n") || !strings.Contains(string(content), "\r\n\r\ntext") {
		t.Errorf("%q, %v", content, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: others may read it", info.Mode(), err)
	}
}

// What a server says is in the log, and the password is in none of our errors, whatever it repeats.
func TestAServerThatRepeatsThePasswordIsNotQuoted(t *testing.T) {
	s := &server{starttls: true, quotes: true}
	port, roots := s.start(t)
	err := mail.SMTP{
		Host: "localhost", Port: port, From: "behalf@example.com", Username: "behalf", Password: secret.New("open sesame"), Roots: roots,
	}.Send(t.Context(), mail.Message{To: "alice@example.com", Subject: "Hello", Text: "Hello\n"})
	if err == nil || !strings.Contains(err.Error(), "535") {
		t.Fatalf("Send = %v, want what the server answered: 535", err)
	}
	for _, said := range []string{"open sesame", base64.StdEncoding.EncodeToString([]byte("\x00behalf\x00open sesame"))} {
		if strings.Contains(err.Error(), said) {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}
