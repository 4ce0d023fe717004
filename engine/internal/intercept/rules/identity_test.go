package rules

import "testing"

func TestWithoutIDs(t *testing.T) {
	for options, wanted := range map[string]string{
		"newinstance,gid=5,mode=620": "newinstance,mode=620",
		"uid=7,gid=8":                "",
		"gid=5":                      "",
		"gid=5,size=1m":              "size=1m",
		"size=1m,uid=1000":           "size=1m",
		",gid=5,,a":                  ",,a",
	} {
		if kept, found := WithoutIDs([]byte(options)); !found || string(kept) != wanted {
			t.Errorf("%q: %q, %v", options, kept, found)
		}
	}
	for _, options := range []string{
		"", ",", ",a,", "gid=0,uid=00", "gid", "gid=", "gid=five", "gid=-5", "gid=0x5", "fsgid=5", "user_id=5,group_id=5", "lowerdir=/a:/gid=5",
	} {
		if kept, found := WithoutIDs([]byte(options)); found || string(kept) != options {
			t.Errorf("%q: %q, %v", options, kept, found)
		}
	}
}

func TestOneIDHasNothingBelowIt(t *testing.T) {
	set, err := Parse([]byte(`{"version": 1, "rules": [{"uname": {"release": "1"}}, {"one_id": {}}, {"one_id": {}}]}`))
	if err != nil || set.OneID != 1 {
		t.Errorf("%+v, %v", set, err)
	}
	if set, err = Parse([]byte(`{"version": 1, "rules": [{"one_id": {"uid": 5}}]}`)); err == nil {
		t.Errorf("%+v", set)
	}
	if set, err = Parse([]byte(`{"version": 1, "rules": []}`)); err != nil || set.OneID != NoRule {
		t.Errorf("%+v, %v", set, err)
	}
}
