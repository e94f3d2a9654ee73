package adminapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/id"
)

// Audit keeps the records of who did what. sqlstore.Audit is one.
type Audit interface {
	// Find returns the last limit records that f wants and that are older than before, the newest first.
	Find(ctx context.Context, f audit.Filter, before int64, limit int) ([]audit.Record, error)

	// Export calls each with the records that f wants, after the one with the Seq after, the oldest first.
	Export(ctx context.Context, f audit.Filter, after int64, each func(audit.Record) error) error

	// Verify checks all chains, and that the kept heads are in them.
	Verify(ctx context.Context, kept ...audit.Head) (audit.Report, error)
}

// unrecorded are the reads of an admin that tell nothing of anybody, or that record themselves. All others are recorded
// here, so that none forgets it.
var unrecorded = map[string]bool{"list-oauth-app-presets": true, "get-redirect-uri": true, "export-audit": true}

// recordRead records that an admin looked at what is not theirs. What cannot be recorded is not shown.
func (h *Handler) recordRead(ctx context.Context, rt route, failed error) error {
	if rt.who != admins && rt.who != operators || rt.method != http.MethodGet || unrecorded[rt.id] {
		return failed
	}
	outcome := "ok"
	if failed != nil {
		outcome = problem(failed, "").Code
	}
	if err := h.recordLook(ctx, rt.id, outcome); err != nil {
		return err
	}
	return failed
}

// recordLook records one look of an admin.
func (h *Handler) recordLook(ctx context.Context, operation, outcome string) error {
	c := from(ctx)
	return h.cfg.Record(ctx, audit.Entry{
		Actor: c.user.ID, Action: audit.AdminRead, Object: strings.TrimPrefix(c.request.URL.Path, Prefix+"/"), Outcome: outcome,
		Detail: map[string]string{"operation": operation}, Request: httpserver.RequestID(ctx),
	})
}

// AuditFilter says which records are wanted. It is exported because huma reads the parameters of an embedded struct
// only then.
type AuditFilter struct {
	Actor   string    `query:"actor" maxLength:"300" doc:"Id of the person who acted, or system, config or anonymous."`
	Action  string    `query:"action" maxLength:"100" doc:"What was done, such as grant.created."`
	Object  string    `query:"object" maxLength:"1000" doc:"Id of what it was done to."`
	Outcome string    `query:"outcome" maxLength:"100" doc:"ok, or the code of the refusal."`
	Refused bool      `query:"refused" doc:"Only what did not end ok."`
	Since   time.Time `query:"since" doc:"At this time or later."`
	Until   time.Time `query:"until" doc:"Before this time."`
}

func (f AuditFilter) filter() audit.Filter {
	return audit.Filter{Actor: f.Actor, Action: audit.Action(f.Action), Object: f.Object, Outcome: f.Outcome, Refused: f.Refused, Since: f.Since, Until: f.Until}
}

type listAuditInput struct {
	AuditFilter
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"200" doc:"How many records at most."`
	Cursor string `query:"cursor" maxLength:"20" doc:"The next_cursor of the page before."`
}

type listAuditOutput struct {
	Link string `header:"Link" doc:"The next page (RFC 8288)."`
	Body AuditList
}

// listAudit lists records, the newest first.
func (h *Handler) listAudit(ctx context.Context, in *listAuditInput) (*listAuditOutput, error) {
	before, err := fromCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	records, err := h.cfg.Audit.Find(ctx, in.filter(), before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &listAuditOutput{Body: AuditList{Items: make([]AuditRecord, 0, len(records))}}
	if len(records) > in.Limit {
		records = records[:in.Limit]
		out.Body.NextCursor = strconv.FormatInt(records[in.Limit-1].Seq, 10)
		out.Link = link(ctx, out.Body.NextCursor)
	}
	names := map[string]string{}
	for _, r := range records {
		out.Body.Items = append(out.Body.Items, AuditRecord{
			Seq: r.Seq, ID: r.ID, At: r.At, Actor: r.Actor, ActorName: h.nameOf(ctx, r.Actor, names), Action: string(r.Action), Object: r.Object,
			Outcome: r.Outcome, Detail: r.Detail, RequestID: r.Request, Writer: r.Writer, Position: r.Position, Hash: r.Hash.String(),
		})
	}
	return out, nil
}

func fromCursor(cursor string) (int64, error) {
	if cursor == "" {
		return 0, nil
	}
	seq, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil || seq <= 0 {
		return 0, &fault.Error{Kind: fault.Invalid, Detail: "This is no cursor of a page before.",
			Fields: []fault.Field{{Pointer: "cursor", Code: "invalid", Detail: "Use the next_cursor of the page before, or none."}}}
	}
	return seq, nil
}

// nameOf returns the username of a person, empty where there is none. It is only for display.
func (h *Handler) nameOf(ctx context.Context, actor string, known map[string]string) string {
	if !strings.HasPrefix(actor, string(id.User)+"_") {
		return ""
	}
	name, ok := known[actor]
	if !ok {
		if u, err := h.cfg.People.ByID(ctx, actor); err == nil {
			name = u.Username
		}
		known[actor] = name
	}
	return name
}

type exportAuditInput struct {
	AuditFilter
	Format string `query:"format" enum:"jsonl,csv" default:"jsonl" doc:"jsonl can be verified with behalf audit verify --file, as long as nothing was filtered out."`
	After  int64  `query:"after" minimum:"0" doc:"Only what came after the record with this seq."`
}

// exportAudit streams records as they are at one moment, the oldest first. An answer that breaks off is cut, so that
// nobody takes a part for the whole.
func (h *Handler) exportAudit(ctx context.Context, in *exportAuditInput) (*huma.StreamResponse, error) {
	err := h.cfg.Record(ctx, audit.Entry{
		Actor: from(ctx).user.ID, Action: audit.Exported, Object: "audit", Outcome: "ok", Detail: map[string]string{"format": in.Format}, Request: httpserver.RequestID(ctx),
	})
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		kind := "application/x-ndjson"
		if in.Format == audit.CSV {
			kind = "text/csv; charset=utf-8"
		}
		hctx.SetHeader("Content-Type", kind)
		hctx.SetHeader("Content-Disposition", `attachment; filename="behalf-audit.`+in.Format+`"`)
		out, err := audit.NewExporter(hctx.BodyWriter(), in.Format)
		if err == nil {
			if err = h.cfg.Audit.Export(ctx, in.filter(), in.After, out.Write); err == nil {
				err = out.Flush()
			}
		}
		if err != nil {
			h.cfg.Log.Warn("audit export cut", audit.Request(ctx), zap.Error(err))
			panic(http.ErrAbortHandler) // net/http's way to cut a connection
		}
	}}, nil
}

type verifyAuditInput struct {
	Body *VerifyAudit `required:"false"`
}

type verifyAuditOutput struct{ Body AuditReport }

// verifyAudit checks all chains. It reads every record, so one runs at a time.
func (h *Handler) verifyAudit(ctx context.Context, in *verifyAuditInput) (*verifyAuditOutput, error) {
	var kept []audit.Head
	if in.Body != nil {
		for i, text := range in.Body.Heads {
			var head audit.Head
			if err := head.Hash.UnmarshalText([]byte(text)); err != nil {
				return nil, &fault.Error{Kind: fault.Invalid, Detail: "This is no hash of a record.",
					Fields: []fault.Field{{Pointer: "/heads/" + strconv.Itoa(i), Code: "invalid", Detail: "Give the 64 hexadecimal digits of a checkpoint or of an end."}}}
			}
			kept = append(kept, head)
		}
	}
	if !h.verifying.TryLock() {
		return nil, &fault.Error{Kind: fault.TooMany, Code: "verification_running", RetryAfter: 5 * time.Second, Detail: "The records are being verified already. Wait for that."}
	}
	defer h.verifying.Unlock()
	began := h.cfg.Now()
	report, err := h.cfg.Audit.Verify(ctx, kept...)
	if err != nil {
		return nil, err
	}
	outcome := "ok"
	if !report.Intact() {
		outcome = "broken"
		h.cfg.Log.Error("the audit log was changed", zap.Any("first", report.Breaks[0]), zap.Int("breaks", len(report.Breaks)))
	}
	if err := h.cfg.Record(ctx, audit.Entry{
		Actor: from(ctx).user.ID, Action: audit.Verified, Object: "audit", Outcome: outcome,
		Detail: map[string]string{"records": strconv.FormatInt(report.Records, 10)}, Request: httpserver.RequestID(ctx),
	}); err != nil {
		return nil, err
	}
	out := AuditReport{
		Intact: report.Intact(), Records: report.Records, Chains: report.Chains, LastSeq: report.Last, VerifiedAt: began.UTC(),
		Breaks: []AuditBreak{}, Ends: []AuditEnd{},
	}
	for _, b := range report.Breaks {
		out.Breaks = append(out.Breaks, AuditBreak{Reason: string(b.Reason), Writer: b.Writer, Position: b.Position, ID: b.ID, Detail: b.Detail})
	}
	for _, e := range report.Ends {
		out.Ends = append(out.Ends, AuditEnd{Writer: e.Writer, Position: e.Position, Hash: e.Hash.String()})
	}
	return &verifyAuditOutput{out}, nil
}
