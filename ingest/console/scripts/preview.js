// Owns the browser's side of a preview: WHEP (POST an offer, DELETE the session) into a video element.
const CONNECT_TIMEOUT_MS = 12_000;

/** Why there is no preview: `reason` is the refusal's type, `text` its words by language. */
export class PreviewRefused extends Error {
  constructor(status, body) {
    super(body.refused ?? `status ${status}`);
    Object.assign(this, { status, reason: body.refused ?? 'unavailable', text: body.text ?? {} });
  }
}

/**
 * Plays the feed behind `url` in `video`. `onstate` hears connecting, playing and ended, the last one once.
 * `picture: false` asks for the sound alone. Returns `stop()`; rejects with PreviewRefused.
 */
export async function connect(video, url, { onstate = () => {}, picture = true, headers = {} } = {}) {
  const peer = new RTCPeerConnection();
  let session = null;
  let ended = false;
  const timer = setTimeout(stop, CONNECT_TIMEOUT_MS);

  function stop() {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    removeEventListener('pagehide', stop);
    peer.close();
    video.srcObject = null;
    if (session) fetch(session, { method: 'DELETE', keepalive: true, headers }).catch(() => {});
    onstate('ended');
  }

  peer.onconnectionstatechange = () => {
    if (peer.connectionState === 'connected') clearTimeout(timer);
    if (['failed', 'closed', 'disconnected'].includes(peer.connectionState)) stop();
  };
  video.srcObject = new MediaStream();
  peer.ontrack = ({ track, receiver }) => {
    if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0; // an engineer wants to see it now
    track.onunmute = () => ended || onstate('playing');
    track.onended = stop;
    video.srcObject.addTrack(track);
  };
  addEventListener('pagehide', stop);
  onstate('connecting');
  try {
    session = await exchange(peer, url, picture, headers);
  } catch (error) {
    stop();
    throw error;
  }
  if (ended) fetch(session, { method: 'DELETE', keepalive: true, headers }).catch(() => {});
  return stop;
}

async function exchange(peer, url, picture, headers) {
  for (const kind of picture ? ['audio', 'video'] : ['audio']) peer.addTransceiver(kind, { direction: 'recvonly' });
  await peer.setLocalDescription();
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/sdp', ...headers },
    body: peer.localDescription.sdp,
  });
  if (answer.status !== 201) throw new PreviewRefused(answer.status, await answer.json().catch(() => ({})));
  const session = new URL(answer.headers.get('location'), answer.url).href;
  const sdp = await answer.text();
  if (peer.signalingState !== 'closed') await peer.setRemoteDescription({ type: 'answer', sdp });
  return session;
}
