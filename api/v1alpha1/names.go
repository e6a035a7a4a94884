package v1alpha1

// Labels and annotations. Labels are on every object that an App owns.
const (
	// LabelApp is the name of the App that an object belongs to. A Service
	// with it belongs to an app that may sleep, and that a request wakes.
	LabelApp = Group + "/app"
	// LabelRevision is the revision ("r3") that an object belongs to.
	LabelRevision = Group + "/revision"

	// AnnotationListening is on a revision's Service whose copies have no
	// readiness check of their own: one that takes a connection is ready. A
	// gateway that holds requests may try such a copy before the cluster says
	// that it is ready, which is asked once a second only.
	AnnotationListening = Group + "/ready-when-listening"

	// AnnotationWake is set on an App by the gateway, to the time (RFC 3339
	// with nanoseconds) of a request that found no copy.
	AnnotationWake = Group + "/wake"
	// AnnotationCommand asks for something once: VERB[:ARGUMENT]#ID, for
	// example "rollback:2#7f3a". Each ID is obeyed once; status.command says
	// what came of it. The verbs are the Command constants.
	AnnotationCommand = Group + "/command"
	// AnnotationRestart is any text; another text ships the same version anew.
	AnnotationRestart = Group + "/restart"
	// AnnotationCause is kept with the revision that it was given with, and
	// shown in the history: who changed what.
	AnnotationCause = "kubernetes.io/change-cause"
	// AnnotationLeaving is the time since when a revision's workload takes no
	// new traffic. It is removed when its last request has ended.
	AnnotationLeaving = Group + "/leaving"
	// LabelConfig is on Secrets and ConfigMaps of whose changes a history is
	// kept. Its value is the name of the app whose own configuration a Secret is,
	// and empty on what apps name beside it.
	LabelConfig = Group + "/config"
	// LabelConfigVersion is on a ControllerRevision that keeps a version of an
	// app's configuration: its number.
	LabelConfigVersion = Group + "/config-version"
	// LabelConfigCopy is on the copies to which such versions lead.
	LabelConfigCopy = Group + "/config-copy"
	// AnnotationConfigKeys is on an app's own configuration: what each of its
	// keys is, as {"KEY": {"plain": true, "path": "/etc/web/web.conf"}}. A key
	// about which it says nothing is a secret variable.
	AnnotationConfigKeys = Group + "/config-keys"
	// AnnotationChangedBy is who has last changed what an object says. The API
	// server writes it; what a client claims is replaced.
	AnnotationChangedBy = Group + "/changed-by"
	// AnnotationChanges is beside it on what has LabelConfig: how often it was
	// changed and by whom of late, as {"count": 4, "by": ["alice", "bob"]}. Of
	// two changes in one moment neither is then taken for the other's.
	AnnotationChanges = Group + "/changes"

	// AnnotationReloaded is on a pod: the hash of the configuration that it
	// has been told about, with @ and a time while its files are being replaced.
	AnnotationReloaded = Group + "/reloaded"
)

// SecretTypeConfig is the type of the Secret that is an app's own configuration.
const SecretTypeConfig = Group + "/config"

// What AnnotationCommand may ask for.
const (
	CommandPromote  = "promote"  // give the new revision everything now
	CommandAbort    = "abort"    // take the new revision back
	CommandPause    = "pause"    // stay at this step
	CommandResume   = "resume"   // go on to the next step
	CommandRollback = "rollback" // with a revision: make it the live one; without: the one before
)

// Conditions of an App.
const (
	ConditionReady         = "Ready"         // it does what it should, or sleeps and would wake
	ConditionProgressing   = "Progressing"   // a change is under way
	ConditionDegraded      = "Degraded"      // something is wrong; the reason says what
	ConditionRouteConflict = "RouteConflict" // an older app has one of its addresses
)

// Reasons that conditions give.
const (
	ReasonRunning           = "Running"
	ReasonAsleep            = "Asleep"
	ReasonStarting          = "Starting"
	ReasonCompleted         = "Completed"
	ReasonFailed            = "Failed"
	ReasonScheduled         = "Scheduled"
	ReasonRolling           = "Rolling"
	ReasonPaused            = "Paused"
	ReasonJudgeUnreachable  = "JudgeUnreachable"
	ReasonTakenBack         = "TakenBack"
	ReasonUpToDate          = "UpToDate"
	ReasonDependencyCycle   = "DependencyCycle"
	ReasonDependencyMissing = "DependencyMissing"
	ReasonDependencyWaiting = "WaitingForDependency"
	ReasonConfigMissing     = "ConfigMissing"
	ReasonNotEnough         = "NotEnoughResources"
	ReasonImage             = "ImageNotPulled"
	ReasonVolume            = "VolumeMissing"
	ReasonCrashing          = "Crashing"
	ReasonNameTaken         = "NameTaken"
	ReasonHostTaken         = "HostTaken"
	ReasonInvalid           = "Invalid"
	ReasonAsExpected        = "AsExpected"
	ReasonMetricUnreachable = "MetricUnreachable"
	ReasonReloadFailed      = "ReloadFailed"
)
