package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestTextIsNeverPrinted(t *testing.T) {
	const canary = "hunter2-canary"
	type inner struct {
		Public Text
		hidden Text
	}
	v := inner{New(canary), New(canary)}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", &v)
		fmt.Fprintf(&out, verb+"\n", v.hidden)
		fmt.Fprintf(&out, verb+"\n", map[string]Text{"k": v.hidden})
	}
	if err := json.NewEncoder(&out).Encode(v); err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(y)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.DebugLevel)
	zap.New(core).Info("x", zap.Any("v", v), zap.Stringer("t", v.Public), zap.Reflect("r", &v))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v, "t", v.Public)

	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("a secret was printed:\n%s", out.String())
	}
	if got := v.Public.Reveal(); got != canary {
		t.Errorf("Reveal = %q, want the secret", got)
	}
}

func TestTextEqual(t *testing.T) {
	if !New("a").Equal(New("a")) || New("a").Equal(New("b")) || !New("").Equal(Text{}) {
		t.Error("Equal does not compare values")
	}
}
