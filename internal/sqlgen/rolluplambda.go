package sqlgen

import (
	"fmt"
	"slices"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// A rollup_lambda is read from rollups that keep the same columns of different times, such as years in partitions of months and the
// last month in partitions of days. It holds a query that each of them would hold, if all time were in it.

// matchUnited returns the rollup_lambda pre that reads the query from its rollups, or why it does not hold it.
func (p *planner) matchUnited(pre *datamodel.PreAggregation) (*Rollup, string) {
	r := &Rollup{Name: pre.FullName(), Type: pre.Type, Scheduled: pre.Scheduled}
	first := pre.Rollups[0]
	for _, of := range pre.Rollups {
		part, why := p.match(of)
		if why != "" {
			return nil, fmt.Sprintf("its rollup %s does not hold it: %s", of.FullName(), why)
		}
		r.Parts = append(r.Parts, part)
		part.Table = r.Parts[0].Table
		switch {
		case len(pre.Rollups) == 1 && !pre.WithSource:
		case !slices.Equal(part.Columns, r.Parts[0].Columns):
			return nil, fmt.Sprintf("its rollups %s and %s do not keep the same columns in the same order", first.FullName(), of.FullName())
		case of.Partition == "" || of.Times[0].Member != first.Times[0].Member:
			return nil, fmt.Sprintf("its rollup %s is not partitioned by the time by which %s is, and rows of both may be the same", of.FullName(), first.FullName())
		}
	}
	r.Read, r.Total, r.Range = r.Parts[0].Read, r.Parts[0].Total, r.Parts[0].Range
	why := r.ofOne()
	r.WithSource = pre.WithSource && r.External // in the source itself, the source answers what is beyond them
	return r, why
}

// United returns which partitions the query reads of each part, oldest first, of those between two wall times that the BuildRange of
// each were answered, what comes after them and is to be asked of the source, and whether these are every row that it is about. What
// an earlier part holds is not read from a later one. It is for a rollup_lambda of parts with partitions.
func (r *Rollup) United(reach [][2]time.Time) (spans [][]Span, rest *Span, all bool, err error) {
	spans = make([][]Span, len(r.Parts))
	var held, at time.Time // until where the parts before hold rows, and everything that is asked for; zero: nothing yet
	if r.Range != nil {
		at = r.Range.From
	}
	undated := false
	for i, part := range r.Parts {
		own, err := part.Spans(reach[i][0], reach[i][1])
		if err != nil {
			return nil, nil, false, err
		}
		from, to, ok := part.reaches(reach[i][0], reach[i][1])
		switch {
		case !ok:
			continue
		case !from.IsZero() && (at.IsZero() || at.Before(from)):
			return nil, nil, false, nil // nobody has what is before it
		}
		for _, s := range own {
			switch dated := !s.From.IsZero(); {
			case !dated && undated, dated && !s.To.After(held):
				continue
			case dated && s.From.Before(held):
				return nil, nil, false, nil // some of its rows were read
			}
			spans[i] = append(spans[i], s)
		}
		undated = undated || r.Range == nil
		if to.IsZero() {
			return spans, nil, true, nil
		}
		held, at = latest(held, to), latest(at, to)
		if r.Range != nil && !at.Before(r.Range.To) {
			return spans, nil, true, nil
		}
	}
	if !r.WithSource || held.IsZero() {
		return nil, nil, false, nil
	}
	to := endOfTime
	if r.Range != nil {
		to = r.Range.To
	}
	const layout = "20060102T150405"
	return spans, &Span{Name: "after_" + at.Format(layout) + "_" + to.Format(layout), From: at, To: to}, true, nil
}

// endOfTime is after all times that databases know.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
