package apiclient

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// silence is after how much of it a stream is given up: a server says that it is there every few seconds.
const silence = 45 * time.Second

// errSilent is why a stream was given up.
var errSilent = errors.New("nothing came for 45 s")

// Watch follows the server-sent events of a path below /api/v1, and calls each with their names and data until it fails or ctx
// ends; it returns why. It returns a *Problem when the server refuses, or ends the stream, and an *Unreachable when nobody
// answers or nothing comes any more.
func (c *Client) Watch(ctx context.Context, path string, each func(event string, data json.RawMessage) error) error {
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	up := time.AfterFunc(silence, func() { give(errSilent) })
	defer up.Stop()
	resp, err := c.do(ctx, &http.Client{CheckRedirect: c.http.CheckRedirect}, http.MethodGet, "/api/v1"+path, nil) // which may take long
	if err != nil {
		return c.over(ctx, err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return c.over(ctx, err)
		}
		return c.refusal(resp.StatusCode, answer)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	event, data := "", ""
	for lines.Scan() {
		up.Reset(silence)
		switch field, value, _ := strings.Cut(lines.Text(), ": "); {
		case field == "event":
			event = value
		case field == "data":
			data += value
		case lines.Text() != "" || event == "": // a comment, a field that we do not know, or nothing yet
		case event == "end":
			var p struct {
				Status int `json:"status"`
			}
			_ = json.Unmarshal([]byte(data), &p) // what is none is no refusal either
			return c.refusal(p.Status, []byte(data))
		default:
			if err := each(event, json.RawMessage(data)); err != nil {
				return err
			}
			event, data = "", ""
		}
	}
	return c.over(ctx, cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
}

// over is why a stream ended with err: whoever follows it left, or the server is not there any more.
func (c *Client) over(ctx context.Context, err error) error {
	switch _, told := errors.AsType[*Unreachable](err); {
	case errors.Is(context.Cause(ctx), errSilent):
		return &Unreachable{c.base, errSilent}
	case ctx.Err() != nil:
		return ctx.Err()
	case told:
		return err
	}
	return &Unreachable{c.base, err}
}
