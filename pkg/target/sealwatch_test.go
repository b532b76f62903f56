package target

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/api"
)

func TestWatchSeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		ask := func(context.Context) (*api.SealStatusResponse, error) {
			switch n++; {
			case n <= 2:
				return nil, errors.New("connection refused")
			case n <= 5:
				return &api.SealStatusResponse{Initialized: true, Sealed: true}, nil
			}
			return &api.SealStatusResponse{Initialized: true}, nil
		}
		looks, err := watchSeal(t.Context(), time.Second, ask, SealLook.Open)
		if err != nil || len(looks) != 6 || !looks[4].Sealed() || looks[1].Sealed() || looks[1].Open() {
			t.Errorf("%d looks %v (%v), want 6: two refused, three sealed, one open", len(looks), looks, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		looks, err = watchSeal(ctx, time.Second, ask, func(SealLook) bool { return false })
		if err == nil || len(looks) == 0 || !strings.Contains(err.Error(), "sealed=false") {
			t.Errorf("time over: %d looks, error %v; want what was seen last", len(looks), err)
		}
	})
}

func TestWatchSealOfAPodThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		looks, err := watchSeal(ctx, time.Second, func(ctx context.Context) (*api.SealStatusResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, SealLook.Open)
		if !errors.Is(err, context.DeadlineExceeded) || len(looks) != 2 || looks[0].Err == nil {
			t.Errorf("%d looks, error %v; want two without an answer", len(looks), err)
		}
	})
}

func TestASealLookThatIsEmptyIsNeitherSealedNorOpen(t *testing.T) {
	empty := SealLook{Status: &api.SealStatusResponse{Sealed: true}} // a Vault without data
	if empty.Sealed() || empty.Open() {
		t.Error("an uninitialised Vault counts as sealed or open")
	}
}
