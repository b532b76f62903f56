package target

import (
	"context"
	"fmt"
	"strings"
)

// raftConfiguration is where Vault tells who is in its raft cluster.
const raftConfiguration = "sys/storage/raft/configuration"

// RaftServer is one entry of raft's configuration.
type RaftServer struct {
	ID    string
	Voter bool
}

// RaftServers asks the active pod for raft's configuration. It fails with ErrNoPrivilege
// if no token at hand may read that.
func (t *Target) RaftServers(ctx context.Context) ([]RaftServer, error) {
	secret, err := t.ReadPrivileged(ctx, raftConfiguration)
	if err != nil {
		return nil, err
	}
	return parseRaftServers(secret.Data)
}

func parseRaftServers(data map[string]any) ([]RaftServer, error) {
	config, _ := data["config"].(map[string]any)
	list, ok := config["servers"].([]any)
	if !ok {
		return nil, fmt.Errorf("the answer of %s has no config.servers", raftConfiguration)
	}
	servers := make([]RaftServer, 0, len(list))
	for _, entry := range list {
		fields, _ := entry.(map[string]any)
		id, _ := fields["node_id"].(string)
		voter, known := fields["voter"].(bool)
		if id == "" || !known {
			return nil, fmt.Errorf("a server in %s lacks its node_id or voter", raftConfiguration)
		}
		servers = append(servers, RaftServer{id, voter})
	}
	return servers, nil
}

// AllVote judges raft's configuration: there is a server for each replica, and all vote.
func AllVote(servers []RaftServer, replicas int) error {
	var names []string
	for _, s := range servers {
		if !s.Voter {
			return fmt.Errorf("raft server %s is no voter, want all %d servers to vote", s.ID, replicas)
		}
		names = append(names, s.ID)
	}
	if len(servers) != replicas {
		return fmt.Errorf("raft's configuration has %d servers (%s), want %d, one for each replica", len(servers), strings.Join(names, ", "), replicas)
	}
	return nil
}
