package main

import (
	"os"
	"runtime"
)

// reserveProcessors raises GOMAXPROCS to one more than there are shards (0: one a
// processor), unless the environment sets it. A shard that waits for its sockets
// keeps its P until the runtime takes it back; with none left over, what wakes it
// waits for that too.
func reserveProcessors(shards int) {
	if shards == 0 {
		shards = runtime.NumCPU()
	}
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) <= shards {
		runtime.GOMAXPROCS(shards + 1)
	}
}
