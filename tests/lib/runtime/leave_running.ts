// Starts the program that its arguments name, prints whether that worked, and ends.
import { startDetached } from "../../../lib/runtime/process.ts";
import { programArguments } from "../../../lib/runtime/lifecycle.ts";
import { write } from "../../../lib/runtime/terminal.ts";

write("stdout", `${await startDetached(programArguments())}\n`);
