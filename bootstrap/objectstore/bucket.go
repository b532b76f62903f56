package objectstore

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"
)

// chunk is how much of an upload is in memory, to be sent again if it fails.
const chunk = 2 << 20 // bytes; a multiple of 256 KiB

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// bucket is a Store in Google Cloud Storage, over its JSON API. The generated
// client is used because the other one would make the sidecar twice as big.
type bucket struct {
	name, prefix string // prefix ends in a slash, or is empty
	endpoint     string

	mu  sync.Mutex
	api *storage.Service
}

func newBucket(name, prefix, endpoint string) (*bucket, error) {
	if prefix != "" {
		prefix += "/"
	}
	if endpoint != "" {
		u, err := url.Parse(endpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("the endpoint %q for snapshots is not of the form http://host:port", endpoint)
		}
		endpoint = strings.TrimRight(endpoint, "/") + "/storage/v1/"
	}
	return &bucket{name: name, prefix: prefix, endpoint: endpoint}, nil
}

// connect looks for credentials, which may not be there yet when the sidecar
// starts.
func (b *bucket) connect(ctx context.Context) (*storage.ObjectsService, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.api == nil {
		options := []option.ClientOption{option.WithScopes(storage.DevstorageReadWriteScope)}
		if b.endpoint != "" {
			options = []option.ClientOption{option.WithEndpoint(b.endpoint), option.WithoutAuthentication()}
		}
		// Its credentials are renewed for as long as the process lives.
		api, err := storage.NewService(context.WithoutCancel(ctx), options...)
		if err != nil {
			return nil, fmt.Errorf("connecting to Cloud Storage for %s (give the pod's service account an identity at Google): %w", b.URL(""), err)
		}
		b.api = api
	}
	return b.api.Objects, nil
}

// URL implements Store.
func (b *bucket) URL(name string) string { return "gs://" + b.name + "/" + b.prefix + name }

// Put implements Store. Cloud Storage shows an object once its last byte and
// its length have arrived; until then there is only an upload, which lapses.
func (b *bucket) Put(ctx context.Context, name string, r io.Reader) error {
	if err := check(name); err != nil {
		return err
	}
	objects, err := b.connect(ctx)
	if err != nil {
		return err
	}
	sum := &summed{r: readerIn{ctx, r}}
	stored, err := objects.Insert(b.name, &storage.Object{Name: b.prefix + name}).
		Media(sum, googleapi.ChunkSize(chunk), googleapi.ContentType("application/octet-stream")).Context(ctx).Do()
	if sum.err != nil {
		err = sum.err // the client may take a reader that fails for one that ends
	}
	if err == nil && (stored.Size != uint64(sum.n) || stored.Crc32c != sum.text()) {
		err = fmt.Errorf("the server stored %d bytes with CRC32C %s, but %d with %s were sent", stored.Size, stored.Crc32c, sum.n, sum.text())
	}
	if err != nil && stored != nil {
		err = errors.Join(err, b.Delete(context.WithoutCancel(ctx), name))
	}
	return b.failed("writing", name, err)
}

// Get implements Store.
func (b *bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := check(name); err != nil {
		return nil, err
	}
	objects, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := objects.Get(b.name, b.prefix+name).Context(ctx).Download()
	if err != nil {
		return nil, b.failed("reading", name, err)
	}
	return resp.Body, nil
}

// List implements Store.
func (b *bucket) List(ctx context.Context, prefix string) ([]Object, error) {
	objects, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	var out []Object
	err = objects.List(b.name).Prefix(b.prefix+prefix).Delimiter("/").Pages(ctx, func(page *storage.Objects) error {
		for _, o := range page.Items {
			created, err := time.Parse(time.RFC3339, o.TimeCreated)
			if err != nil {
				return fmt.Errorf("reading when %s was created: %w", o.Name, err)
			}
			out = append(out, Object{Name: strings.TrimPrefix(o.Name, b.prefix), Size: int64(o.Size), Created: created.UTC()})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Object) int { return cmp.Compare(a.Name, b.Name) })
	return out, b.failed("listing", prefix+"*", err)
}

// Delete implements Store.
func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := check(name); err != nil {
		return err
	}
	objects, err := b.connect(ctx)
	if err != nil {
		return err
	}
	return b.failed("deleting", name, objects.Delete(b.name, b.prefix+name).Context(ctx).Do())
}

func (b *bucket) failed(doing, name string, err error) error {
	var answer *googleapi.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &answer):
	case answer.Code == http.StatusNotFound:
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	case answer.Code == http.StatusForbidden || answer.Code == http.StatusUnauthorized:
		err = fmt.Errorf("%w, the role roles/storage.objectUser on bucket %s allows it: %w", ErrDenied, b.name, err)
	}
	return fmt.Errorf("%s %s: %w", doing, b.URL(name), err)
}

// summed counts what is read, sums it up, and remembers why it ended.
type summed struct {
	r   io.Reader
	n   int64
	sum uint32
	err error
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.sum = crc32.Update(s.sum, castagnoli, p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// text of the sum, as Cloud Storage writes it.
func (s *summed) text() string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, s.sum))
}
