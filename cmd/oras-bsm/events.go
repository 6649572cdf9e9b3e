package main

import (
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// event is a line of standard error under --json: jsonHelp says which fields an
// event has. It is a contract with scripts: names are only ever added.
type event struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`

	Phase    string   `json:"phase,omitempty"`
	Name     string   `json:"name,omitempty"`
	Size     *int64   `json:"size,omitempty"`
	Done     *int64   `json:"done,omitempty"`
	Skipped  *int64   `json:"skipped,omitempty"`
	Total    *int64   `json:"total,omitempty"`
	Rate     *int64   `json:"rate,omitempty"`
	Seconds  *float64 `json:"seconds,omitempty"`
	Complete *bool    `json:"complete,omitempty"`

	Message string `json:"message,omitempty"`
	Code    int    `json:"code,omitzero"`
	Hint    string `json:"hint,omitempty"`
}

// emit writes an event in one piece. It is called by several goroutines.
func emit(w io.Writer, e event) {
	e.Time = time.Now().UTC().Truncate(time.Millisecond)
	line, err := json.Marshal(e, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("oras-bsm: internal error: " + err.Error())
	}
	_, _ = fmt.Fprintln(w, escapeJSON(line))
}

// newEvents tells of progress in events.
func newEvents(w io.Writer) *tally {
	return &tally{every: time.Second, tell: func(what string, p *phase, i *item) {
		e := event{Event: what, Phase: p.name}
		switch what {
		case phaseBegin:
			e.Total = &p.total
		case phaseProgress:
			e.Done, e.Skipped, e.Total = new(p.done()), new(p.skipped.Load()), &p.total
			e.Rate = new(int64(p.speed()))
		case phaseEnd:
			e.Done, e.Skipped, e.Total = new(p.done()), new(p.skipped.Load()), &p.total
			e.Seconds, e.Complete = new(p.seconds()), p.complete()
		case itemBegin:
			e.Name, e.Size = i.name, &i.total
		case itemEnd:
			e.Name, e.Size = i.name, &i.total
			e.Done, e.Skipped = new(i.done()), new(i.skipped.Load())
			e.Seconds, e.Complete = new(i.seconds()), i.complete()
		}
		emit(w, e)
	}}
}
