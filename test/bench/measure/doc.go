// Package measure times contestants against each other and tells the result.
//
// A figure is one thing that is measured, with the goal for it; a row is what one
// contestant showed. Contestants of a figure take turns (A B C A B C …), so that
// whatever else the machine does at a time meets all of them.
package measure
