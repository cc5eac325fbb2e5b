// Package agent is one agent on disk: the layout of its directory, the
// .version file, its processes, and the turns in which its control script is run.
//
//	{workDir}/{name}/
//	  1.0.0/           a complete, never-changing release; control at its root
//	  1.0.1/
//	  .version         the version this agent should run; one line
//	  .control.out     what start and restart printed
//	  .control.started the process that control start brought up last
//	  .control.run     the control script that starts or stops it now, if any
//	  .control.lock    the queue of all runs of the control script
//	  .owner           the sidecar that looks after it
//
// Only package child may import it: its code runs in the short-lived child, as
// the agent's own user, because another user can rewrite everything below
// {workDir}.
package agent
