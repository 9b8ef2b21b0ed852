// Starts the program that its arguments name, prints whether that worked, and ends.
import { startDetached } from "../../../lib/platform/command.ts";
import { programArguments, write } from "../../../lib/platform/program.ts";

write("stdout", `${await startDetached(programArguments())}\n`);
