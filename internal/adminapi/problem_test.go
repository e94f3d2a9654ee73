package adminapi

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/behalf-project/behalf/internal/fault"
)

func TestEveryKindHasAnAnswer(t *testing.T) {
	for _, k := range fault.Kinds() {
		if _, ok := answers[k]; !ok {
			t.Errorf("%s has no answer", k)
		}
		p := problem(fault.Wrap(k, errors.New("canary"), ""), "req_1")
		if p.Status < 400 || p.Title == "" || p.Detail == "" || p.Code != string(k) || p.RequestID != "req_1" || p.Type != "urn:behalf:problem:"+string(k) {
			t.Errorf("%s is answered %+v", k, p)
		}
		if bare := problem(k, ""); bare.Code != string(k) || bare.Detail == "" {
			t.Errorf("%s without more is answered %+v", k, bare)
		}
	}
	if len(answers) != len(fault.Kinds()) {
		t.Errorf("%d answers for %d kinds", len(answers), len(fault.Kinds()))
	}
}

func TestAFailureWithoutAKindSaysNothing(t *testing.T) {
	p := problem(errors.New("canary"), "req_1")
	if p.Status != 500 || p.Code != "internal" || strings.Contains(p.Detail, "canary") {
		t.Errorf("problem = %+v", p)
	}
}

func TestAProblemHoldsWhatAFaultSays(t *testing.T) {
	p := problem(&fault.Error{
		Kind: fault.TooMany, Code: "slow_down", Detail: "Wait.", Owner: fault.User, RetryAfter: 1500 * time.Millisecond,
		Actions: []fault.Action{{Rel: "authorize", Href: "https://x", Label: "Connect"}},
		Fields:  []fault.Field{{Pointer: "/a", Code: "b", Detail: "c"}, {Pointer: "client_id", Code: "required", Detail: "d"}},
		Err:     errors.New("canary"),
	}, "")
	if p.Code != "slow_down" || p.Owner != "user" || len(p.Actions) != 1 || len(p.Errors) != 2 || p.Errors[1].Pointer != "/client_id" || !p.Retryable {
		t.Errorf("problem = %+v", p)
	}
	if got := p.GetHeaders().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After = %q, want 2: rounded up", got)
	}
}

func TestHumasRefusalsShowNoValues(t *testing.T) {
	p := fromHuma(&huma.ErrorModel{Status: 422, Detail: "validation failed", Errors: []*huma.ErrorDetail{
		{Location: "body.data_sources[0]", Message: "expected string", Value: "canary"},
		{Location: "body.auth_params.a/b", Message: "expected string", Value: "canary"},
		{Location: "body.clientid", Message: "unexpected property", Value: "canary"},
		{Location: "body", Message: "expected required property name to be present", Value: "canary"},
		{Location: "query.slug", Message: "required query parameter is missing", Value: ""},
	}}, "req_1")
	want := []ProblemField{
		{"/data_sources/0", "invalid", "Expected string."}, {"/auth_params/a~1b", "invalid", "Expected string."},
		{"/clientid", "unknown_field", "Unexpected property."}, {"/name", "required", "Expected required property name to be present."},
		{"slug", "required", "Required query parameter is missing."},
	}
	if len(p.Errors) != len(want) {
		t.Fatalf("errors = %+v", p.Errors)
	}
	for i := range want {
		if p.Errors[i] != want[i] {
			t.Errorf("error %d = %+v, want %+v", i, p.Errors[i], want[i])
		}
	}
}
