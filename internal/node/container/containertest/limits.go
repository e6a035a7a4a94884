package containertest

import "testing"

var limits = map[string]func(*testing.T, *Node){}
