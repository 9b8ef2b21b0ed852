/**
 * Options as they were typed, for another command line.
 *
 * @module
 */
import type { CommandLine } from "./command_line.ts";
import type { Option } from "./command_options.ts";

/** The options among these that a command line itself has, and neither the environment nor a profile. */
export function givenWords(line: CommandLine, options: readonly Option[]): readonly string[] {
  return options.filter(({ name }) => line.origin(name) === "command line").flatMap(({ name, kind }) => {
    switch (kind) {
      case "text":
        return [`--${name}=${line.text(name)}`];
      case "seconds":
        return [`--${name}=${line.seconds(name)}`];
      case "list":
        return line.list(name).map((each) => `--${name}=${each}`);
      case "switch":
        return [`--${name}`];
      case "count":
        return Array.from({ length: line.count(name) }, () => `--${name}`);
    }
  });
}
