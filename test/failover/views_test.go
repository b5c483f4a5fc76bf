package failover

import "testing"

func TestViews(t *testing.T) {
	v := &views{seen: map[string]bool{}}
	for _, part := range []string{
		"node1: time=x level=INFO msg=\"view 3.1: node2 is gone\"\n",
		"node3: time=x level=INFO msg=\"view 3.1: node2 is ", "gone\"\nnode1: msg=serving\n",
		"node1: msg=\"no view 7.1\"\nnode1: msg=\"view 4.3: node2 joins\"\n",
	} {
		if n, err := v.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if n := v.count(); n != 2 {
		t.Errorf("%d views, want 2", n)
	}
}
