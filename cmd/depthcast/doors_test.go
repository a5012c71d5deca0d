package main

import "testing"

func TestPortIsSharedOnlyByThoseWhoAskForIt(t *testing.T) {
	first, err := listen("127.0.0.1:0", "--listen", true)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := listen(first.Addr().String(), "--listen", true)
	if err != nil {
		t.Fatalf("both asked for it: %v", err)
	}
	defer second.Close()
	if third, err := listen(first.Addr().String(), "--listen", false); err == nil {
		_ = third.Close()
		t.Error("a server that did not ask for it has taken a part of the clients")
	}
}
