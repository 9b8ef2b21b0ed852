// Prints which of its streams are terminals of Git Bash.
import { isMsysTerminal } from "../../../lib/runtime/windows_api.ts";

console.log((["stdin", "stdout", "stderr"] as const).filter(isMsysTerminal).join(" "));
