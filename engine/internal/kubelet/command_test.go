package kubelet

import (
	"slices"
	"testing"
)

func TestStrengths(t *testing.T) {
	for _, each := range []struct {
		arguments []string
		strength  string
	}{
		{[]string{"--v=2", "--config=x"}, ""},
		{[]string{"--v=2", "--disable-cadvisor", "--config=x"}, statisticsOnly},
		{[]string{"--v=2", "--disable-cadvisor=all", "--config=x"}, all},
		{[]string{"--disable-cadvisor=statistics", "--v=2", "--disable-cadvisor=all", "--config=x"}, all},
	} {
		strength, rest := disabled(each.arguments)
		if strength != each.strength || !slices.Equal(rest, []string{"--v=2", "--config=x"}) {
			t.Errorf("%q is strength %q with %q", each.arguments, strength, rest)
		}
	}
}

func TestAnUnknownStrengthIsRefused(t *testing.T) {
	command := NewCommand(t.Context())
	command.SetArgs([]string{"--disable-cadvisor=some"})
	if err := command.Execute(); err == nil {
		t.Error("it is accepted")
	}
}
