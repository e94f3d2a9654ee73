package kms_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/kms"
	"github.com/behalf-project/behalf/internal/secret"
)

// services are the emulators, each with the URI of its key, one of a key that it does not have, and how it refuses.
var services = []struct {
	name   string
	start  func(*testing.T) (*emulator, *httptest.Server)
	uri    func(host string) string
	other  func(host string) string
	denied trouble
	needs  string
	off    trouble // the key is disabled, or the service is sealed
}{
	{
		"Vault", vault,
		func(host string) string { return "hcvault://" + host + "/transit/keys/behalf" },
		func(host string) string { return "hcvault://" + host + "/transit/keys/other" },
		trouble{status: 403, body: `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`}, "transit/encrypt/behalf",
		trouble{status: 503, body: `{"errors":["Vault is sealed"]}`},
	},
	{
		"AWS", awsKMS,
		func(string) string { return "aws-kms://" + awsARN },
		func(string) string { return "aws-kms://" + awsARN[:len(awsARN)-1] + "6" },
		trouble{status: 400, body: `{"__type":"AccessDeniedException","Message":"User: arn:aws:iam::1:user/x is not authorized"}`}, "kms:Decrypt",
		trouble{status: 400, body: `{"__type":"com.amazonaws.kms#DisabledException"}`},
	},
	{
		"Google", googleKMS,
		func(string) string { return "gcp-kms://" + gcpName },
		func(string) string { return "gcp-kms://" + gcpName + "x" },
		trouble{status: 403, body: `{"error":{"code":403,"status":"PERMISSION_DENIED"}}`}, "roles/cloudkms.cryptoKeyEncrypterDecrypter",
		trouble{status: 400, body: `{"error":{"code":400,"status":"FAILED_PRECONDITION"}}`},
	},
}

// each runs a test against every emulator.
func each(t *testing.T, test func(t *testing.T, i int, e *emulator, o *kms.Opener, host string)) {
	for i, s := range services {
		t.Run(s.name, func(t *testing.T) {
			e, server := s.start(t)
			o := kms.New(kms.Config{GoogleEndpoint: server.URL})
			test(t, i, e, o, server.Listener.Addr().String())
		})
	}
}

func mustOpen(t *testing.T, o *kms.Opener, uri string) secret.KMS {
	t.Helper()
	key, err := o.Open(t.Context(), uri)
	if err != nil {
		cause, _ := errors.AsType[*fault.Error](err)
		t.Fatalf("Open(%s) = %v, want no error; its cause is %v", uri, err, cause.Err)
	}
	return key
}

func TestAKeyOpensWhatItEncryptedForTheSamePurposeOnly(t *testing.T) {
	each(t, func(t *testing.T, i int, e *emulator, o *kms.Opener, host string) {
		key := mustOpen(t, o, services[i].uri(host))
		sealed, err := key.EncryptWithContext(t.Context(), []byte("data keys"), []byte("purpose"))
		if err != nil || strings.Contains(string(sealed), "data keys") {
			t.Fatalf("Encrypt = %q, %v, want a ciphertext", sealed, err)
		}
		again := mustOpen(t, kms.New(kms.Config{GoogleEndpoint: "http://" + host}), services[i].uri(host))
		if plain, err := again.DecryptWithContext(t.Context(), sealed, []byte("purpose")); err != nil || string(plain) != "data keys" {
			t.Errorf("Decrypt = %q, %v, want what was encrypted", plain, err)
		}
		if _, err := key.DecryptWithContext(t.Context(), sealed, []byte("another purpose")); !errors.Is(err, secret.ErrWrongMaster) {
			t.Errorf("Decrypt for another purpose = %v, want ErrWrongMaster", err)
		}
		sealed[len(sealed)-2] ^= 1
		if _, err := key.DecryptWithContext(t.Context(), sealed, []byte("purpose")); !errors.Is(err, secret.ErrWrongMaster) {
			t.Errorf("Decrypt of a changed ciphertext = %v, want ErrWrongMaster", err)
		}
		if _, err := mustOpen(t, o, services[i].other(host)).EncryptWithContext(t.Context(), []byte("x"), nil); !errors.Is(err, fault.NotFound) {
			t.Errorf("Encrypt with a key that is not there = %v, want not_found", err)
		}
	})
}

func TestAKeyringIsWrappedByAKMS(t *testing.T) {
	each(t, func(t *testing.T, i int, e *emulator, o *kms.Opener, host string) {
		master := secret.RemoteMaster(services[i].uri(host), mustOpen(t, o, services[i].uri(host)))
		ring, err := secret.NewKeyring()
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := ring.Wrap(t.Context(), master)
		if err != nil {
			t.Fatalf("Wrap = %v, want no error", err)
		}
		opened, err := secret.OpenKeyring(t.Context(), master, wrapped)
		if err != nil || opened.Primary() != ring.Primary() {
			t.Fatalf("OpenKeyring = %v, want the same keys", err)
		}
		before := e.called()
		place := secret.Place{Table: "grants", ID: "1"}
		for range 100 {
			sealed, err := ring.Seal(secret.New("token"), place)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := opened.Open(sealed, place); err != nil {
				t.Fatal(err)
			}
		}
		want := 2
		if strings.HasPrefix(services[i].uri(host), "hcvault:") {
			want += 2 // the probe
		}
		if n := e.called(); n != before || before != want {
			t.Errorf("%d calls for 100 secrets and %d for the keyring, want 0 and %d", n-before, before, want)
		}
		e.fails(&services[i].denied)
		if _, err := secret.OpenKeyring(t.Context(), master, wrapped); !errors.Is(err, fault.Denied) || errors.Is(err, secret.ErrWrongMaster) || !strings.Contains(err.Error(), services[i].needs) {
			t.Errorf("OpenKeyring without permission = %v, want denied and that %s is needed, not that it is the wrong key", err, services[i].needs)
		}
	})
}

func TestARefusalOfAKMSSaysWhatToDo(t *testing.T) {
	each(t, func(t *testing.T, i int, e *emulator, o *kms.Opener, host string) {
		uri := services[i].uri(host)
		key := mustOpen(t, o, uri)
		for _, tt := range []struct {
			name  string
			with  trouble
			want  fault.Kind
			says  string
			calls int
		}{
			{"permission denied", services[i].denied, fault.Denied, services[i].needs, 1},
			{"disabled or sealed", services[i].off, fault.Unavailable, uri, 0},
			{"throttled", trouble{status: 429}, fault.Unavailable, "Try again", 3},
			{"broken", trouble{status: 500, body: "oops"}, fault.Unavailable, "Try again", 3},
			{"another server", trouble{status: 200, body: "<html>hello</html>"}, fault.Unavailable, "address", 3},
			{"a redirect", trouble{status: 302}, fault.Invalid, uri, 1},
			{"something else", trouble{status: 418, body: `{"errors":["teapot"],"__type":"Teapot","error":{"status":"TEAPOT"}}`}, fault.Invalid, uri, 1},
		} {
			t.Run(tt.name, func(t *testing.T) {
				before := e.called()
				e.fails(&tt.with)
				defer e.fails(nil)
				_, err := key.DecryptWithContext(t.Context(), []byte("vault:v1:AAAA"), []byte("ad"))
				if fault.KindOf(err) != tt.want || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("Decrypt = %v, want %s that says %q", err, tt.want, tt.says)
				}
				if n := e.called() - before; tt.calls > 0 && n != tt.calls {
					t.Errorf("%d calls, want %d", n, tt.calls)
				}
				for _, word := range []string{"hvs.right", "secret-access-key", "ya29"} {
					if strings.Contains(err.Error(), word) {
						t.Errorf("the error holds a credential: %v", err)
					}
				}
			})
		}
		e.fails(&trouble{status: 503, times: 1}) // which goes away
		if _, err := key.EncryptWithContext(t.Context(), []byte("x"), []byte("ad")); err != nil {
			t.Errorf("Encrypt after one failure = %v, want it tried again", err)
		}
	})
}

func TestASlowKMSIsWaitedForUntilTheDeadline(t *testing.T) {
	each(t, func(t *testing.T, i int, e *emulator, o *kms.Opener, host string) {
		key := mustOpen(t, o, services[i].uri(host))
		if _, err := key.EncryptWithContext(t.Context(), []byte("x"), nil); err != nil { // the token of Google is there now
			t.Fatal(err)
		}
		e.fails(&trouble{delay: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := key.EncryptWithContext(ctx, []byte("x"), nil)
		if !errors.Is(err, fault.Timeout) || !strings.Contains(err.Error(), services[i].uri(host)) || time.Since(start) > 5*time.Second {
			t.Errorf("Encrypt = %v after %v, want a timeout that names the key", err, time.Since(start))
		}
	})
}

func TestAKMSThatIsDownIsSaidToBe(t *testing.T) {
	for _, s := range services {
		t.Run(s.name, func(t *testing.T) {
			_, server := s.start(t)
			host := server.Listener.Addr().String()
			key := mustOpen(t, kms.New(kms.Config{GoogleEndpoint: server.URL}), s.uri(host))
			server.Close()
			_, err := key.DecryptWithContext(t.Context(), []byte("vault:v1:AAAA"), nil)
			if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), s.uri(host)) {
				t.Errorf("Decrypt = %v, want unavailable and the key", err)
			}
		})
	}
}

func TestCredentialsThatAreMissingAreNamed(t *testing.T) {
	for _, s := range services {
		t.Run(s.name, func(t *testing.T) {
			_, server := s.start(t)
			host := server.Listener.Addr().String()
			t.Setenv("HOME", t.TempDir())
			for _, name := range []string{"VAULT_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
				t.Setenv(name, "")
			}
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
			key, err := kms.New(kms.Config{GoogleEndpoint: server.URL}).Open(t.Context(), s.uri(host))
			if err == nil {
				_, err = key.EncryptWithContext(t.Context(), []byte("x"), nil)
			}
			if kind := fault.KindOf(err); kind != fault.NotFound && kind != fault.Unavailable || !strings.Contains(err.Error(), s.uri(host)) {
				t.Errorf("without credentials = %v, want a refusal that names the key", err)
			}
		})
	}
}

// A Vault that does not know associated_data ignores it without a word.
func TestAVaultThatBindsNothingToItsPurposeIsRefused(t *testing.T) {
	e, server := vault(t)
	uri := "hcvault://" + server.Listener.Addr().String() + "/transit/keys/behalf"
	sealed, err := mustOpen(t, kms.New(kms.Config{}), uri).EncryptWithContext(t.Context(), []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	e.ignoreAssociatedData()
	key := mustOpen(t, kms.New(kms.Config{}), uri)
	for range 2 {
		_, err1 := key.EncryptWithContext(t.Context(), []byte("x"), []byte("purpose"))
		_, err2 := key.DecryptWithContext(t.Context(), sealed, nil)
		for _, err := range []error{err1, err2} {
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "associated_data") || !strings.Contains(err.Error(), "aes256-gcm96") {
				t.Errorf("a call = %v, want it refused with what to do", err)
			}
		}
	}
}

func TestAVaultTokenIsReadForEachCall(t *testing.T) {
	_, server := vault(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("VAULT_TOKEN", "")
	key := mustOpen(t, kms.New(kms.Config{}), "hcvault://"+server.Listener.Addr().String()+"/transit/keys/behalf")
	for token, want := range map[string]bool{"hvs.expired": false, "hvs.right\n": true} {
		write(t, filepath.Join(home, ".vault-token"), []byte(token))
		if _, err := key.EncryptWithContext(t.Context(), []byte("x"), nil); (err == nil) != want {
			t.Errorf("Encrypt with %q = %v, want success: %v", token, err, want)
		}
	}
}

func TestAnAddressThatIsNoKeyIsRefused(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL_KMS", "")
	for _, uri := range []string{
		"", "keys.json", "azure-kms://x", "aws-kms://", "aws-kms://arn:aws:s3:::bucket", "aws-kms://arn:aws:kms:eu-west-1:123456789012:key/../x",
		"gcp-kms://projects/p", "gcp-kms://" + gcpName + "/cryptoKeyVersions/1", "gcp-kms://" + gcpName + "?x=y",
		"hcvault://", "hcvault://vault", "hcvault://vault/transit/behalf", "hcvault://user:hunter2@vault/transit/keys/behalf",
		"hcvault://vault/transit/../keys/behalf", "hcvault:///transit/keys/behalf", "hcvault://vault/transit/keys/behalf?x=y",
	} {
		_, err := kms.New(kms.Config{}).Open(t.Context(), uri)
		if !errors.Is(err, fault.Invalid) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q) = %v, want invalid, without a password", uri, err)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL_KMS", "http://kms.example.com")
	if _, err := kms.New(kms.Config{}).Open(t.Context(), "aws-kms://"+awsARN); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "https") {
		t.Errorf("Open over plain http = %v, want invalid", err)
	}
	t.Setenv("VAULT_CACERT", filepath.Join(t.TempDir(), "none.pem"))
	if _, err := kms.New(kms.Config{}).Open(t.Context(), "hcvault://vault/transit/keys/behalf"); !errors.Is(err, fault.Invalid) {
		t.Errorf("Open without its certificate = %v, want invalid", err)
	}
}

// A certificate that is not trusted is not talked to: whoever sits between us and Vault would read the data keys.
func TestAVaultWithAnUnknownCertificateIsRefused(t *testing.T) {
	e, server := vault(t)
	t.Setenv("VAULT_CACERT", "")
	key := mustOpen(t, kms.New(kms.Config{}), "hcvault://"+server.Listener.Addr().String()+"/transit/keys/behalf")
	if _, err := key.EncryptWithContext(t.Context(), []byte("x"), nil); !errors.Is(err, fault.Unavailable) || e.called() != 0 {
		t.Errorf("Encrypt = %v after %d requests, want unavailable and none", err, e.called())
	}
}

func TestARequestToAKMSFollowsNoRedirect(t *testing.T) {
	each(t, func(t *testing.T, i int, e *emulator, o *kms.Opener, host string) {
		key := mustOpen(t, o, services[i].uri(host))
		for _, status := range []int{301, 302, 303, 307, 308} {
			e.fails(&trouble{status: status, to: "/elsewhere"})
			before := e.called()
			if _, err := key.EncryptWithContext(t.Context(), []byte("data keys"), nil); err == nil {
				t.Errorf("Encrypt through a redirect %d = no error", status)
			}
			if n := e.called() - before; n != 1 {
				t.Errorf("%d requests after a redirect %d, want 1", n, status)
			}
		}
	})
}
