package orchestrator

import "github.com/behalf-project/behalf/driverfactory"

// Observer hears how it goes, for figures. Its methods return at once and call nothing here; several may be called at the
// same time.
type Observer interface {
	// Answered hears how a Load ended: with a result, or with a failure. Who was told to ask again is not answered yet.
	Answered(src driverfactory.Source, res *Result, err error)

	// Built hears how a build of a rollup ended.
	Built(err error)

	// Evicted hears why an orchestrator was forgotten.
	Evicted(why Eviction)
}

// Eviction is why an orchestrator was forgotten.
type Eviction string

// The reasons.
const (
	ForRoom     Eviction = "capacity" // Config.Max others were used later
	WhenDrained Eviction = "drained"  // somebody asked for it
)

// Evictions lists all of them.
func Evictions() []Eviction { return []Eviction{ForRoom, WhenDrained} }

// nobody hears nothing.
type nobody struct{}

func (nobody) Answered(driverfactory.Source, *Result, error) {}
func (nobody) Built(error)                                   {}
func (nobody) Evicted(Eviction)                              {}
