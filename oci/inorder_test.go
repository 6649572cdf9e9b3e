package oci

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
)

func TestInOrder(t *testing.T) {
	for _, jobs := range []int{1, 2, 7} {
		for _, n := range []int{0, 1, 2, 500} {
			var running, most, open atomic.Int64
			var got []int
			err := inOrder(t.Context(), jobs, n, func(_ context.Context, i int) (int, error) {
				if now := open.Add(1); now > int64(2*jobs+2) {
					t.Errorf("%d items between fetch and emit with %d jobs", now, jobs)
				}
				return i * 10, nil
			}, func(i, v int) (int, error) {
				if now := running.Add(1); now > most.Load() {
					most.Store(now)
				}
				for range (n - i) % 3 { // so that later items may overtake
					runtime.Gosched()
				}
				running.Add(-1)
				return i + v, nil
			}, func(i, v int) error {
				open.Add(-1)
				if v != 11*i {
					t.Errorf("item %d has the result %d", i, v)
				}
				got = append(got, i)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != n || !slices.IsSorted(got) {
				t.Errorf("jobs %d, n %d: emitted %v", jobs, n, got)
			}
			if most.Load() > int64(jobs) {
				t.Errorf("%d items were worked on at once with %d jobs", most.Load(), jobs)
			}
		}
	}
}

func TestInOrderEnds(t *testing.T) {
	fault := errors.New("fault")
	for _, stage := range []string{"fetch", "work", "emit", "canceled"} {
		for _, where := range []int{0, 1, 50, 99} {
			ctx, cancel := context.WithCancel(t.Context())
			check := func(s string, i int) error {
				if i != where {
					return nil
				}
				if stage == "canceled" && s == "work" {
					cancel()
				}
				if s == stage {
					return fault
				}
				return nil
			}
			emitted, ended := 0, false
			err := inOrder(ctx, 3, 100, func(_ context.Context, i int) (int, error) {
				return i, check("fetch", i)
			}, func(i, _ int) (int, error) {
				return i, check("work", i)
			}, func(i, v int) error {
				if ended {
					t.Errorf("item %d was emitted after the end", i)
				}
				if i != emitted || v != i {
					t.Errorf("item %d with the value %d follows %d others", i, v, emitted)
				}
				emitted++
				return check("emit", i)
			})
			ended = true
			want := fault
			if stage == "canceled" {
				want = context.Canceled
			}
			// All may be done before the cancellation of the last is seen.
			done := stage == "canceled" && err == nil && emitted == 100
			if !errors.Is(err, want) && !done {
				t.Errorf("%s fails at %d: error %v", stage, where, err)
			}
			switch {
			case stage == "emit" && emitted != where+1, stage != "emit" && stage != "canceled" && emitted > where:
				t.Errorf("%s fails at %d: %d items were emitted", stage, where, emitted)
			}
			cancel()
		}
	}
}
