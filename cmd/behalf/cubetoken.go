package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jwtauth"
)

// tokensCube signs a JWT for the query API, as Cube's own command line did. It needs no server: whoever has the API
// secret may say who anybody is.
type tokensCube struct {
	Config  string   `help:"The configuration that has the API secret; behalf.yaml if it is there, and the environment." type:"path" placeholder:"FILE"`
	Claim   []string `help:"A claim: user_id=42 is a number, name='\"42\"' a text, cubeCloud.username=alice one inside another. May be repeated." short:"c" sep:"none" placeholder:"NAME=VALUE"`
	Expires string   `help:"How long it lives, such as 1h or 30d." default:"30d" placeholder:"TIME"`
}

// Run implements the command. It prints the token alone, for $(…).
func (c *tokensCube) Run(io streams) error {
	life, err := lifetime(c.Expires)
	if err != nil {
		return err
	}
	claims, err := parseClaims(c.Claim)
	if err != nil {
		return err
	}
	cfg, err := loadConfig(c.Config, "")
	if err != nil {
		return err
	}
	token, err := jwtauth.Sign(cfg.Auth.APISecret, claims, time.Now(), life)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(io.Out, token.Reveal())
	return err
}

// lifetime reads a duration, which may be in days.
func lifetime(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, fault.New(fault.Invalid, "--expires %q is no time; write 30d, 12h or 15m", text)
}

// parseClaims reads claims of the form name=value. A value is JSON where it can be, and else a text.
func parseClaims(pairs []string) (map[string]any, error) {
	claims := map[string]any{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		path := strings.Split(name, ".")
		if !ok || name == "" || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
			return nil, fault.New(fault.Invalid, "--claim %q is not of the form name=value", pair)
		}
		at := claims
		for _, step := range path[:len(path)-1] {
			inner, ok := at[step].(map[string]any)
			if at[step] == nil {
				inner, ok = map[string]any{}, true
				at[step] = inner
			}
			if !ok {
				return nil, fault.New(fault.Invalid, "--claim %s: %s has a value of its own already", name, step)
			}
			at = inner
		}
		last := path[len(path)-1]
		if _, twice := at[last]; twice {
			return nil, fault.New(fault.Invalid, "--claim %s is given twice", name)
		}
		var parsed any
		if err := json.Unmarshal([]byte(value), &parsed); err != nil {
			parsed = value
		}
		at[last] = parsed
	}
	return claims, nil
}
