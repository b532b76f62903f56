package feed

import (
	"context"
	"slices"
	"testing"
	"time"
)

func fill(f *Feed[int64], n int) {
	for range n {
		f.Add(func(n int64) int64 { return n })
	}
}

func TestReadingInPieces(t *testing.T) {
	f := New[int64](100)
	fill(f, 5)
	if got, dropped := f.After(t.Context(), 0, 3, 0); !slices.Equal(got, []int64{1, 2, 3}) || dropped != 0 {
		t.Errorf("the first piece is %v (%d dropped)", got, dropped)
	}
	if got, _ := f.After(t.Context(), 3, 3, 0); !slices.Equal(got, []int64{4, 5}) {
		t.Errorf("the second piece is %v", got)
	}
	if got, dropped := f.After(t.Context(), 5, 3, 0); got != nil || dropped != 0 {
		t.Errorf("past the end there is %v (%d dropped)", got, dropped)
	}
}

func TestOldestAreDroppedAndCounted(t *testing.T) {
	f := New[int64](10)
	fill(f, 25)
	got, dropped := f.After(t.Context(), 2, 100, 0)
	if len(got) == 0 || got[0] != 3+dropped || got[len(got)-1] != 25 || len(got) > 10 {
		t.Errorf("read %v after %d dropped", got, dropped)
	}
}

func TestWhatWasReadIsForgotten(t *testing.T) {
	f := New[int64](10)
	fill(f, 8)
	f.Forget(5)
	f.Forget(2) // again, and late
	fill(f, 6)
	if got, dropped := f.After(t.Context(), 5, 100, 0); !slices.Equal(got, []int64{6, 7, 8, 9, 10, 11, 12, 13, 14}) || dropped != 0 {
		t.Errorf("after what was read there is %v (%d dropped)", got, dropped)
	}
	f.Forget(100)
	fill(f, 1)
	if got, dropped := f.After(t.Context(), 14, 100, 0); !slices.Equal(got, []int64{15}) || dropped != 0 {
		t.Errorf("after all was read there is %v (%d dropped)", got, dropped)
	}
}

func TestWaiting(t *testing.T) {
	f := New[int64](10)
	go func() {
		<-time.After(50 * time.Millisecond)
		fill(f, 1)
	}()
	began := time.Now()
	if got, _ := f.After(t.Context(), 0, 10, 5*time.Second); len(got) != 1 || time.Since(began) > time.Second {
		t.Errorf("waited %s for %v, want it as it came", time.Since(began), got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, _ := f.After(ctx, 1, 10, time.Minute); got != nil {
		t.Errorf("got %v after the end of the context", got)
	}
	if got, _ := f.After(t.Context(), 1, 10, 20*time.Millisecond); got != nil {
		t.Errorf("got %v out of nothing", got)
	}
}
