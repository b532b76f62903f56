package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func noEnv(string) (string, bool) { return "", false }

func TestParse(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"CUSTODY_PROJECT": "from-env", "POD_NAME": "vault-2", "LOG_LEVEL": "debug", "THRESHOLD": ""}[name]
		return v, ok
	}
	c, err := parse([]string{"-custody-project=from-flag"}, env)
	if err != nil {
		t.Fatal(err)
	}
	if c.Project != "from-flag" || c.pod != "vault-2" || c.logLevel != slog.LevelDebug || c.threshold != 3 {
		t.Errorf("%+v; want the flag before the environment before the default", c)
	}
}

func TestParseRefuses(t *testing.T) {
	good := []string{"-custody-project=p", "-pod-name=vault-0"}
	if _, err := parse(good, noEnv); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		extra []string
		want  string
	}{
		"no project":            {[]string{"-custody-project="}, "-custody-project"},
		"no prefix":             {[]string{"-custody-prefix="}, "-custody-prefix"},
		"threshold over shares": {[]string{"-threshold=6"}, "threshold"},
		"threshold of one":      {[]string{"-threshold=1"}, "threshold"},
		"no pod name":           {[]string{"-pod-name="}, "-pod-name"},
		"a deployment's pod":    {[]string{"-pod-name=vault-7f9c-xk2lp"}, "-pod-name"},
		"period too short":      {[]string{"-provisioner-period=5s"}, "period"},
		"replaced too early":    {[]string{"-provisioner-max-age=1h"}, "-provisioner-max-age"},
		"registrar in the open": {[]string{"-registrar-listen=:8211"}, "-registrar-listen"},
		"endpoint alone":        {[]string{"-snapshot-endpoint=http://gcs:4443"}, "-snapshot-url"},
		"endpoint of a folder":  {[]string{"-snapshot-endpoint=http://gcs:4443", "-snapshot-url=file:///snapshots"}, "-snapshot-url"},
		"bad endpoint":          {[]string{"-snapshot-endpoint=gcs:4443", "-snapshot-url=gs://b"}, "-snapshot-endpoint"},
		"snapshots nowhere":     {[]string{"-snapshot-url=s3://bucket"}, "-snapshot-url"},
		"snapshots too often":   {[]string{"-snapshot-url=gs://b", "-snapshot-every=1ms"}, "-snapshot-every"},
		"no snapshot kept":      {[]string{"-snapshot-url=gs://b", "-snapshot-keep=0"}, "-snapshot-keep"},
		"unknown flag":          {[]string{"-custody"}, "custody"},
		"stray argument":        {[]string{"start"}, "start"},
		"bad level":             {[]string{"-log-level=loud"}, "loud"},
	} {
		if _, err := parse(append(good, tt.extra...), noEnv); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v; want one that says %q", name, err, tt.want)
		}
	}
	if _, err := parse(good, func(n string) (string, bool) { return "many", n == "SHARES" }); err == nil || !strings.Contains(err.Error(), "SHARES") {
		t.Errorf("bad environment: error %v; want one that names the variable", err)
	}
}

func TestDefaults(t *testing.T) {
	c, err := parse([]string{"-custody-project=p", "-pod-name=vault-0"}, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if c.keepRoot || !c.fence || c.storageDir != "" || c.maxAge != 720*time.Hour {
		t.Errorf("keep root token %t, fence %t, storage folder %q, greatest age %s; want false, true, none, 720h", c.keepRoot, c.fence, c.storageDir, c.maxAge)
	}
	c.storageDir = t.TempDir() + "/absent"
	if _, err := c.markers(); err == nil || !strings.Contains(err.Error(), "-storage-dir") {
		t.Errorf("error %v; want one that names the flag", err)
	}
}
