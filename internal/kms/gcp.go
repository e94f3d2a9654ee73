package kms

import (
	"context"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"regexp"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

var cryptoKey = regexp.MustCompile(`^projects/[^/?#]+/locations/[^/?#]+/keyRings/[^/?#]+/cryptoKeys/[^/?#:]+$`)

// gcpKey is a key of Google Cloud KMS (cloud.google.com/kms/docs/reference/rest). Both directions carry CRC32C sums, as
// its guidelines on data integrity ask.
type gcpKey struct {
	service
	url string
}

func (o *Opener) openGCP(ctx context.Context, uri, name string) (secret.KMS, error) {
	if !cryptoKey.MatchString(name) {
		return nil, fault.New(fault.Invalid, "The master key %s names no key of Google Cloud KMS: write gcp-kms://projects/<p>/locations/<l>/keyRings/<r>/cryptoKeys/<k>.", uri)
	}
	client := httpClient(nil)
	// The source of tokens keeps the context for later calls, so it must not end with this one; the client's limit ends them.
	lasting := context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, client)
	credentials, err := google.FindDefaultCredentials(lasting, "https://www.googleapis.com/auth/cloudkms")
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, err, "There are no Google credentials, and Google Cloud KMS holds the master key %s. Run where there is a service account, or name its file in GOOGLE_APPLICATION_CREDENTIALS.", uri)
	}
	return &gcpKey{url: o.cfg.GoogleEndpoint + "/v1/" + name, service: service{
		name: "Google Cloud KMS", uri: uri, client: client,
		needs: "The service account of this process needs the role roles/cloudkms.cryptoKeyEncrypterDecrypter on that key.",
		prepare: func(_ context.Context, r *http.Request, _ []byte) error {
			token, err := credentials.TokenSource.Token()
			if err != nil {
				return err
			}
			token.SetAuthHeader(r)
			return nil
		},
		meaning: gcpMeaning,
	}}, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc32c(b []byte) int64 { return int64(crc32.Checksum(b, castagnoli)) }

type gcpRequest struct {
	Plaintext     []byte `json:"plaintext,omitempty"`
	PlaintextSum  int64  `json:"plaintextCrc32c,omitempty,string"`
	Ciphertext    []byte `json:"ciphertext,omitempty"`
	CiphertextSum int64  `json:"ciphertextCrc32c,omitempty,string"`
	AD            []byte `json:"additionalAuthenticatedData"`
	ADSum         int64  `json:"additionalAuthenticatedDataCrc32c,string"`
}

type gcpAnswer struct {
	Plaintext         []byte `json:"plaintext"`
	PlaintextSum      int64  `json:"plaintextCrc32c,string"`
	Ciphertext        []byte `json:"ciphertext"`
	CiphertextSum     int64  `json:"ciphertextCrc32c,string"`
	VerifiedPlaintext bool   `json:"verifiedPlaintextCrc32c"`
	VerifiedAD        bool   `json:"verifiedAdditionalAuthenticatedDataCrc32c"`
}

// EncryptWithContext implements secret.KMS. Google Cloud KMS takes up to 64 KiB.
func (k *gcpKey) EncryptWithContext(ctx context.Context, plain, associatedData []byte) ([]byte, error) {
	var a gcpAnswer
	err := k.call(ctx, "encrypt", k.url+":encrypt", nil, gcpRequest{
		Plaintext: plain, PlaintextSum: crc32c(plain), AD: associatedData, ADSum: crc32c(associatedData),
	}, &a)
	if err == nil && (!a.VerifiedPlaintext || !a.VerifiedAD || a.CiphertextSum != crc32c(a.Ciphertext)) {
		return nil, k.spoilt()
	}
	return a.Ciphertext, err
}

// DecryptWithContext implements secret.KMS.
func (k *gcpKey) DecryptWithContext(ctx context.Context, sealed, associatedData []byte) ([]byte, error) {
	var a gcpAnswer
	err := k.call(ctx, "decrypt", k.url+":decrypt", nil, gcpRequest{
		Ciphertext: sealed, CiphertextSum: crc32c(sealed), AD: associatedData, ADSum: crc32c(associatedData),
	}, &a)
	if err == nil && a.PlaintextSum != crc32c(a.Plaintext) {
		return nil, k.spoilt()
	}
	return a.Plaintext, err
}

func (k *gcpKey) spoilt() error {
	return fault.New(fault.Unavailable, "What went to Google Cloud KMS or came from it was changed on the way: a checksum differs. Try again.")
}

func gcpMeaning(status int, body []byte) failure {
	var e struct {
		Error struct {
			Status string `json:"status"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &e) // without a body, the status says enough
	f := failure{detail: word(e.Error.Status)}
	switch {
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		f.class = denied
	case status == http.StatusNotFound:
		f.class = missing
	case e.Error.Status == "FAILED_PRECONDITION":
		f.class = disabled
	case status == http.StatusBadRequest:
		f.class = notOurs
	case status == http.StatusTooManyRequests, status >= 500:
		f.class = busy
	}
	return f
}
