package target

import (
	"strings"
	"testing"
)

func raftAnswer(servers ...any) map[string]any {
	return map[string]any{"config": map[string]any{"servers": servers}}
}

func TestRaftServers(t *testing.T) {
	voter := map[string]any{"node_id": "vault-0", "voter": true}
	got, err := parseRaftServers(raftAnswer(voter, map[string]any{"node_id": "vault-1", "voter": false}))
	if err != nil || len(got) != 2 || got[0] != (RaftServer{"vault-0", true}) || got[1] != (RaftServer{"vault-1", false}) {
		t.Errorf("servers %v (%v)", got, err)
	}
	for name, data := range map[string]map[string]any{
		"nothing":  nil,
		"no id":    raftAnswer(map[string]any{"voter": true}),
		"no voter": raftAnswer(map[string]any{"node_id": "vault-0"}),
		"a number": raftAnswer(7),
	} {
		if got, err := parseRaftServers(data); err == nil {
			t.Errorf("%s is read as %v", name, got)
		}
	}
}

func TestAllVote(t *testing.T) {
	three := []RaftServer{{"vault-0", true}, {"vault-1", true}, {"vault-2", true}}
	if err := AllVote(three, 3); err != nil {
		t.Error(err)
	}
	for want, servers := range map[string][]RaftServer{
		"vault-1 is no voter":         {{"vault-0", true}, {"vault-1", false}, {"vault-2", true}},
		"has 2 servers":               three[:2],
		"has 4 servers (vault-0, vau": append(three[:3:3], RaftServer{"vault-9", true}),
	} {
		if err := AllVote(servers, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
