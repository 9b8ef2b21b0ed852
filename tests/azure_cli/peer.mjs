// Azure's credential that runs az, of @azure/identity: peer.mjs SCOPE [OPTIONS], where OPTIONS is JSON. Prints JSON.
import process from "node:process";
import { AzureCliCredential } from "@azure/identity";

const [scope, options = "{}"] = process.argv.slice(2), { claims, ...own } = JSON.parse(options);
try {
  const { token, expiresOnTimestamp } = await new AzureCliCredential(own).getToken(scope, { claims });
  process.stdout.write(JSON.stringify({ token, expires: expiresOnTimestamp / 1000 }));
} catch ({ name, message }) {
  process.stdout.write(JSON.stringify({ name, message }));
}
