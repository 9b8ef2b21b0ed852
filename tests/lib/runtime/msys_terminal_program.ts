// Prints which of its streams are terminals of Git Bash.
import process from "node:process";
import { isMsysTerminal } from "../../../lib/runtime/windows_api.ts";

process.stdout.write((["stdin", "stdout", "stderr"] as const).filter(isMsysTerminal).join(" "));
