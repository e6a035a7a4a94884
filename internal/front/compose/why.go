package compose

// Why says why something in a file is not done as it stands. The command line
// has a sentence for each in the user's language.
type Why string

// The reasons. Behind each: what its arguments are.
const (
	WhyMeaningless Why = "meaningless" // a cloud has nothing like it
	WhyPublished   Why = "published"   // host port
	WhyHostPath    Why = "hostpath"    // path on the user's machine
	WhyCopied      Why = "copied"      // file whose content was taken
	WhyNotText     Why = "nottext"     // file that is too long or no text
	WhySize        Why = "size"        // size that is asked for
	WhyNetwork     Why = "network"     //
	WhyAlias       Why = "alias"       // the only name
	WhyRenamed     Why = "renamed"     // the app's name
	WhyBuild       Why = "build"       // the image
	WhyUser        Why = "user"        //
	WhyRestart     Why = "restart"     //
	WhyProfile     Why = "profile"     // the profiles, any of which would do
	WhyPace        Why = "pace"        //
	WhyOrder       Why = "order"       //
	WhyFailure     Why = "failure"     // the failure_action
	WhyConstraint  Why = "constraint"  // the constraint
	WhyExisting    Why = "existing"    // kind, name and key of what must be there
	WhyNoPort      Why = "noport"      // who needs it
	WhyNoValue     Why = "novalue"     // the variable
	WhyClaim       Why = "claim"       // name of the PersistentVolumeClaim that must be there
)

// Reasons are all of them.
func Reasons() []Why {
	return []Why{WhyMeaningless, WhyPublished, WhyHostPath, WhyCopied, WhyNotText, WhySize, WhyNetwork, WhyAlias, WhyRenamed, WhyBuild,
		WhyUser, WhyRestart, WhyProfile, WhyPace, WhyOrder, WhyFailure, WhyConstraint, WhyExisting, WhyNoPort, WhyNoValue, WhyClaim}
}
