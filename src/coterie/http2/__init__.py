"""gRPC over HTTP/2, the server's side, without I/O: see `connection`."""

from coterie.http2.answers import Status as Status
from coterie.http2.connection import Connection as Connection
from coterie.http2.errors import ErrorCode as ErrorCode
from coterie.http2.errors import Http2Error as Http2Error
from coterie.http2.errors import LimitsError as LimitsError
from coterie.http2.events import Called as Called
from coterie.http2.events import Cancelled as Cancelled
from coterie.http2.events import Drained as Drained
from coterie.http2.events import Ended as Ended
from coterie.http2.events import Event as Event
from coterie.http2.events import Metadata as Metadata
from coterie.http2.events import Received as Received
from coterie.http2.frames import PREFACE as PREFACE
from coterie.http2.limits import Limits as Limits
