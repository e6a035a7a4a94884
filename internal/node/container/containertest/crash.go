package containertest

import "testing"

var crashes = map[string]func(*testing.T, *Node){}
