package places

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// files are those of a directory. Symbolic links are not followed.
func files(dir string) Source {
	return Source{Name: "files in " + dir, Each: func(ctx context.Context, visit Visit) error {
		var errs []error
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				errs = append(errs, err)
				return nil
			}
			if !entry.Type().IsRegular() {
				return nil
			}
			file, err := os.Open(path)
			if err != nil {
				errs = append(errs, err)
				return nil
			}
			defer file.Close()
			return visit(path, file)
		})
		return errors.Join(append(errs, err)...)
	}}
}

// Disks gives access to the disks of nodes.
type Disks interface {
	// Archive streams a tar archive of the given files and directories of a node.
	// Those that do not exist are left out, and so is what is not on the disk, like
	// /proc. Closing the stream early ends it.
	Archive(ctx context.Context, node string, paths ...string) (io.ReadCloser, error)
}

// DefaultPaths are where a node keeps what passed through it: etcd's database and
// its write-ahead log, logs of containers and of the API server's audit with the
// rotated ones, volumes of pods, and core dumps.
var DefaultPaths = []string{
	"/var/lib/etcd", "/var/log", "/var/lib/kubelet/pods",
	"/var/local-path-provisioner", "/opt/local-path-provisioner", "/var/lib/systemd/coredump",
}

// DisksPlace is what the report calls the disks of the nodes.
const DisksPlace = "disks of the nodes"

// nodePrefix begins the name of what is on a node's disk.
const nodePrefix = "node "

// disks are those of all nodes.
func disks(client kubernetes.Interface, opts Options) []Source {
	if opts.Disks == nil {
		return []Source{{Name: DisksPlace, Each: func(context.Context, Visit) error {
			return errors.New("nobody gives access to them: etcd's files, rotated logs and volumes are not searched")
		}}}
	}
	paths := opts.Paths
	if len(paths) == 0 {
		paths = DefaultPaths
	}
	return []Source{{Name: DisksPlace, Each: func(ctx context.Context, visit Visit) error {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("listing the nodes of the cluster: %w", err)
		}
		var errs []error
		for _, node := range nodes.Items {
			archive, err := opts.Disks.Archive(ctx, node.Name, paths...)
			if err != nil {
				errs = append(errs, fmt.Errorf("the disk of node %s: %w", node.Name, err))
				continue
			}
			err = eachEntry(archive, nodePrefix+node.Name+": ", visit)
			if closeErr := archive.Close(); err == nil && closeErr != nil {
				err = closeErr
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("the disk of node %s: %w", node.Name, err))
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return errors.Join(errs...)
	}}}
}

// eachEntry visits the files of a tar archive.
func eachEntry(archive io.Reader, prefix string, visit Visit) error {
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading its archive: %w", err)
		}
		// Files with holes have a type of their own.
		if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeGNUSparse {
			continue
		}
		if err := visit(prefix+filepath.Join("/", header.Name), reader); err != nil {
			return err
		}
	}
}
