package kms_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// trouble is what an emulator does instead of answering.
type trouble struct {
	status int
	body   string
	delay  time.Duration
	times  int    // how often; 0 is always
	to     string // where it redirects to
}

// emulator is one key of a KMS over HTTP, with real encryption: a ciphertext opens with its associated data only.
type emulator struct {
	t   *testing.T
	key cipher.AEAD

	mu       sync.Mutex
	trouble  *trouble
	unbound  bool // it ignores associated data
	calls    int
	requests []string // bodies
}

func newEmulator(t *testing.T) *emulator {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &emulator{t: t, key: aead}
}

func (e *emulator) fails(tr *trouble) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trouble = tr
}

func (e *emulator) called() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

// ignoreAssociatedData makes it a service that does not know the parameter, from now on.
func (e *emulator) ignoreAssociatedData() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unbound = true
}

// bound is what of ad counts.
func (e *emulator) bound(ad []byte) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.unbound {
		return nil
	}
	return ad
}

func (e *emulator) seal(plain, ad []byte) []byte {
	nonce := make([]byte, e.key.NonceSize())
	_, _ = rand.Read(nonce)
	return e.key.Seal(nonce, nonce, plain, e.bound(ad))
}

func (e *emulator) open(sealed, ad []byte) ([]byte, error) {
	if len(sealed) < e.key.NonceSize() {
		return nil, io.ErrUnexpectedEOF
	}
	return e.key.Open(nil, sealed[:e.key.NonceSize()], sealed[e.key.NonceSize():], e.bound(ad))
}

// troubled counts the call and answers as fails said, or reports that it did not.
func (e *emulator) troubled(w http.ResponseWriter, r *http.Request, body []byte) bool {
	e.mu.Lock()
	e.calls++
	e.requests = append(e.requests, string(body))
	tr := e.trouble
	if tr != nil && tr.times > 0 {
		if tr.times--; tr.times == 0 {
			e.trouble = nil
		}
	}
	e.mu.Unlock()
	if tr == nil {
		return false
	}
	if tr.delay > 0 {
		select {
		case <-time.After(tr.delay):
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler) // an empty answer could still reach the caller that has just given up
	}
	if tr.to != "" {
		w.Header().Set("Location", tr.to)
	}
	w.WriteHeader(tr.status)
	_, _ = io.WriteString(w, tr.body)
	return true
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// vault is Vault's transit engine with the key transit/keys/behalf, for the token "hvs.right".
func vault(t *testing.T) (*emulator, *httptest.Server) {
	e := newEmulator(t)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if e.troubled(w, r, body) {
			return
		}
		refuse := func(status int, text string) {
			w.WriteHeader(status)
			answer(w, map[string]any{"errors": []string{text}})
		}
		if r.Header.Get("X-Vault-Token") != "hvs.right" {
			refuse(403, "permission denied")
			return
		}
		var in struct {
			Plaintext, AssociatedData []byte
			Ciphertext                string
			AD                        []byte `json:"associated_data"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			refuse(400, "failed to parse JSON input")
			return
		}
		switch r.URL.Path {
		case "/v1/transit/encrypt/behalf":
			answer(w, map[string]any{"data": map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(e.seal(in.Plaintext, in.AD)), "key_version": 1}})
		case "/v1/transit/decrypt/behalf":
			sealed, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(in.Ciphertext, "vault:v1:"))
			plain, err := e.open(sealed, in.AD)
			if err != nil {
				refuse(400, "cipher: message authentication failed")
				return
			}
			answer(w, map[string]any{"data": map[string]any{"plaintext": plain}})
		default:
			refuse(400, "encryption key not found")
		}
	}))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	t.Setenv("VAULT_CACERT", ca)
	t.Setenv("VAULT_TOKEN", "hvs.right")
	return e, server
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

const awsARN = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"

// awsKMS is AWS KMS with the key awsARN. It checks signatures itself, from the documentation of Signature Version 4.
func awsKMS(t *testing.T) (*emulator, *httptest.Server) {
	e := newEmulator(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if e.troubled(w, r, body) {
			return
		}
		refuse := func(kind string) {
			w.WriteHeader(400)
			answer(w, map[string]string{"__type": kind, "message": "no"})
		}
		if !signed(r, body, "AKIDEXAMPLE", "secret-access-key") {
			refuse("com.amazonaws.kms#InvalidSignatureException")
			return
		}
		var in struct {
			KeyID             string `json:"KeyId"`
			Plaintext         []byte
			CiphertextBlob    []byte
			EncryptionContext map[string]string
		}
		if err := json.Unmarshal(body, &in); err != nil || in.KeyID != awsARN {
			refuse("NotFoundException")
			return
		}
		ad := []byte(fmt.Sprint(in.EncryptionContext))
		switch r.Header.Get("X-Amz-Target") {
		case "TrentService.Encrypt":
			answer(w, map[string]any{"CiphertextBlob": e.seal(in.Plaintext, ad), "KeyId": awsARN})
		case "TrentService.Decrypt":
			plain, err := e.open(in.CiphertextBlob, ad)
			if err != nil {
				refuse("InvalidCiphertextException")
				return
			}
			answer(w, map[string]any{"Plaintext": plain, "KeyId": awsARN})
		default:
			refuse("UnknownOperationException")
		}
	}))
	t.Cleanup(server.Close)
	none := filepath.Join(t.TempDir(), "none") // nobody's own configuration
	write(t, none, nil)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KMS": server.URL, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-access-key",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
	} {
		t.Setenv(name, value)
	}
	return e, server
}

// signed checks a request of Signature Version 4 (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
func signed(r *http.Request, body []byte, id, secretKey string) bool {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return false
	}
	part := map[string]string{}
	for p := range strings.SplitSeq(auth, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		part[name] = value
	}
	scope, ok := strings.CutPrefix(part["Credential"], id+"/")
	if !ok || !strings.HasSuffix(scope, "/eu-west-1/kms/aws4_request") {
		return false
	}
	var headers bytes.Buffer
	for name := range strings.SplitSeq(part["SignedHeaders"], ";") {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, value)
	}
	sum := sha256.Sum256(body)
	canonical := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n\n%s\n%s\n%x", r.Method, r.URL.Path, headers.String(), part["SignedHeaders"], sum))
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	key := []byte("AWS4" + secretKey)
	for p := range strings.SplitSeq(scope, "/") {
		key = mac(key, p)
	}
	want := mac(key, fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", r.Header.Get("X-Amz-Date"), scope, canonical))
	return hex.EncodeToString(want) == part["Signature"] && strings.Contains(part["SignedHeaders"], "x-amz-target")
}

const gcpName = "projects/p/locations/europe/keyRings/r/cryptoKeys/behalf"

// googleKMS is Google Cloud KMS with the key gcpName, and the token endpoint of a service account (RFC 7523).
func googleKMS(t *testing.T) (*emulator, *httptest.Server) {
	e := newEmulator(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	crc := func(b []byte) string { return fmt.Sprint(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			_, err := jwt.Parse(r.PostFormValue("assertion"), func(*jwt.Token) (any, error) { return &private.PublicKey, nil }, jwt.WithValidMethods([]string{"RS256"}))
			if err != nil {
				w.WriteHeader(400)
				answer(w, map[string]string{"error": "invalid_grant"})
				return
			}
			w.Header().Set("Content-Type", "application/json")
			answer(w, map[string]any{"access_token": "ya29.right", "token_type": "Bearer", "expires_in": 3600})
			return
		}
		body, _ := io.ReadAll(r.Body)
		if e.troubled(w, r, body) {
			return
		}
		refuse := func(status int, word string) {
			w.WriteHeader(status)
			answer(w, map[string]any{"error": map[string]any{"code": status, "status": word, "message": "no"}})
		}
		if r.Header.Get("Authorization") != "Bearer ya29.right" {
			refuse(401, "UNAUTHENTICATED")
			return
		}
		var in struct {
			Plaintext, Ciphertext []byte
			AD                    []byte `json:"additionalAuthenticatedData"`
			PlaintextCrc32c       string
			CiphertextCrc32c      string
			ADCrc32c              string `json:"additionalAuthenticatedDataCrc32c"`
		}
		if err := json.Unmarshal(body, &in); err != nil || in.ADCrc32c != crc(in.AD) {
			refuse(400, "INVALID_ARGUMENT")
			return
		}
		switch r.URL.Path {
		case "/v1/" + gcpName + ":encrypt":
			sealed := e.seal(in.Plaintext, in.AD)
			answer(w, map[string]any{
				"ciphertext": sealed, "ciphertextCrc32c": crc(sealed), "verifiedPlaintextCrc32c": in.PlaintextCrc32c == crc(in.Plaintext),
				"verifiedAdditionalAuthenticatedDataCrc32c": true,
			})
		case "/v1/" + gcpName + ":decrypt":
			plain, err := e.open(in.Ciphertext, in.AD)
			if err != nil || in.CiphertextCrc32c != crc(in.Ciphertext) {
				refuse(400, "INVALID_ARGUMENT")
				return
			}
			answer(w, map[string]any{"plaintext": plain, "plaintextCrc32c": crc(plain)})
		default:
			refuse(404, "NOT_FOUND")
		}
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "sa.json")
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p", "private_key_id": "1", "client_email": "behalf@p.iam.gserviceaccount.com", "token_uri": server.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, text)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	return e, server
}
