/** Entry of `npm start`. It imports the rest only when this Node.js can run it. */

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 11)) {
  console.error(`Entrepot needs Node.js 20.11 or newer; this is ${process.version} (${process.execPath}).`);
  process.exitCode = 1;
} else {
  const { launch } = await import('./launcher.js');
  process.exitCode = await launch(process.argv.slice(2));
}
