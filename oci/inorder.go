package oci

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// inOrder passes the items 0..n-1 through three stages. fetch is called in order,
// in one goroutine; work in up to jobs goroutines; emit in order, in one
// goroutine. At most about 2*jobs items are between fetch and emit. It returns
// the first error, after everything that it started has ended.
func inOrder[T, R any](ctx context.Context, jobs, n int,
	fetch func(ctx context.Context, i int) (T, error),
	work func(i int, t T) (R, error),
	emit func(i int, r R) error,
) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan chan R, jobs)
	running := make(chan struct{}, jobs)
	g.Go(func() error {
		defer close(queue)
		for i := range n {
			t, err := fetch(ctx, i)
			if err != nil {
				return err
			}
			result := make(chan R, 1)
			select {
			case queue <- result:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case running <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			g.Go(func() error {
				defer func() { <-running }()
				r, err := work(i, t)
				if err == nil {
					result <- r
				}
				return err
			})
		}
		return nil
	})
	g.Go(func() error {
		i := 0
		for result := range queue {
			select {
			case r := <-result:
				if err := emit(i, r); err != nil {
					return err
				}
				i++
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}
