// Starts the program that its arguments name, prints whether that worked, and ends.
import { startDetached } from "../../../lib/runtime/process.ts";
import { programArguments, write } from "../../../lib/runtime/lifecycle.ts";

write("stdout", `${await startDetached(programArguments())}\n`);
