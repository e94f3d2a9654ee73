package kms

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/secret"
)

var arn = regexp.MustCompile(`^arn:(aws[a-z-]*):kms:([a-z0-9-]+):([0-9]{12}):(?:key|alias)/[A-Za-z0-9/_-]+$`)

// awsKey is a key of AWS KMS (docs.aws.amazon.com/kms/latest/APIReference).
type awsKey struct {
	service
	arn, endpoint string
}

func (o *Opener) openAWS(ctx context.Context, uri, name string) (secret.KMS, error) {
	parts := arn.FindStringSubmatch(name)
	if parts == nil {
		return nil, fault.New(fault.Invalid, "The master key %s names no key of AWS KMS: write aws-kms://arn:aws:kms:<region>:<account>:key/<id>.", uri)
	}
	region, domain := parts[2], "amazonaws.com"
	if parts[1] == "aws-cn" {
		domain = "amazonaws.com.cn"
	}
	endpoint := "https://kms." + region + "." + domain
	for _, variable := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS"} { // the more special one wins, as in AWS's tools
		if v := o.cfg.Getenv(variable); v != "" {
			endpoint = v
		}
	}
	if err := safe(endpoint); err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, err, "The credentials for AWS KMS, which holds the master key %s, cannot be read.", uri)
	}
	// The SDK's own client follows redirects that resend the body. Its transport has what AWS_CA_BUNDLE says.
	client, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, fmt.Errorf("open the master key %s: the AWS SDK made a client of type %T", uri, cfg.HTTPClient)
	}
	signer := v4.NewSigner()
	return &awsKey{arn: name, endpoint: strings.TrimSuffix(endpoint, "/") + "/", service: service{
		name: "AWS KMS", uri: uri, client: httpClient(client.GetTransport()),
		needs: "The identity of this process needs kms:Encrypt and kms:Decrypt on that key: allow them in its IAM policy or in the key's policy.",
		prepare: func(ctx context.Context, r *http.Request, body []byte) error {
			if cfg.Credentials == nil {
				return fault.New(fault.NotFound, "There are no AWS credentials, and AWS KMS holds the master key %s.", uri)
			}
			credentials, err := cfg.Credentials.Retrieve(ctx)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(body)
			return signer.SignHTTP(ctx, credentials, r, hex.EncodeToString(sum[:]), "kms", region, o.cfg.Now())
		},
		meaning: awsMeaning,
	}}, nil
}

type awsEnvelope struct {
	KeyID      string            `json:"KeyId"`
	Plaintext  []byte            `json:"Plaintext,omitempty"`
	Ciphertext []byte            `json:"CiphertextBlob,omitempty"`
	Context    map[string]string `json:"EncryptionContext,omitempty"`
}

// EncryptWithContext implements secret.KMS. AWS KMS takes up to 4096 bytes.
func (k *awsKey) EncryptWithContext(ctx context.Context, plain, associatedData []byte) ([]byte, error) {
	var answer awsEnvelope
	err := k.post(ctx, "encrypt", "Encrypt", awsEnvelope{KeyID: k.arn, Plaintext: plain, Context: bound(associatedData)}, &answer)
	return answer.Ciphertext, err
}

// DecryptWithContext implements secret.KMS.
func (k *awsKey) DecryptWithContext(ctx context.Context, sealed, associatedData []byte) ([]byte, error) {
	var answer awsEnvelope
	err := k.post(ctx, "decrypt", "Decrypt", awsEnvelope{KeyID: k.arn, Ciphertext: sealed, Context: bound(associatedData)}, &answer)
	return answer.Plaintext, err
}

func bound(associatedData []byte) map[string]string {
	return map[string]string{"associatedData": hex.EncodeToString(associatedData)}
}

func (k *awsKey) post(ctx context.Context, operation, target string, request, answer any) error {
	header := http.Header{"X-Amz-Target": {"TrentService." + target}, "Content-Type": {"application/x-amz-json-1.1"}}
	return k.call(ctx, operation, k.endpoint, header, request, answer)
}

func awsMeaning(status int, body []byte) failure {
	var e struct {
		Type string `json:"__type"`
	}
	_ = json.Unmarshal(body, &e)                      // without a type, the status says enough
	name := e.Type[strings.LastIndex(e.Type, "#")+1:] // it may be qualified: com.amazonaws.kms#…
	f := failure{detail: word(name)}
	switch strings.TrimSuffix(name, "Exception") {
	case "AccessDenied", "UnrecognizedClient", "InvalidSignature", "ExpiredToken", "MissingAuthenticationToken", "IncompleteSignature", "InvalidClientTokenId":
		f.class = denied
	case "NotFound":
		f.class = missing
	case "Disabled", "KMSInvalidState":
		f.class = disabled
	case "InvalidCiphertext", "IncorrectKey":
		f.class = notOurs
	case "Throttling", "LimitExceeded", "KMSInternal", "DependencyTimeout", "KeyUnavailable":
		f.class = busy
	default:
		if status == http.StatusTooManyRequests || status >= 500 {
			f.class = busy
		}
	}
	return f
}

// safe refuses plain http beyond this machine, where what is decrypted could be read on the way.
func safe(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return fault.New(fault.Invalid, "The address %q of the KMS is none.", endpoint)
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback.Host(u.Hostname())) {
		return fault.New(fault.Invalid, "The address %s of the KMS must begin with https://: plain http is for this machine only.", u.Redacted())
	}
	return nil
}
